// The console service.
#include <string.h>

#include <array>
#include <optional>
#include <string_view>

#include "ipc/buffer_message.h"
#include "proto/console_config.pb.h"
#include "proto/kernel_calls.atoll.h"
#include "services/console/console.h"
#include "services/console/manifest.h"
#include "services/console/silent.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"

namespace atoll {

namespace manifest = console_manifest;
static_assert(Console::kFlushSignal == manifest::kFlushSignal);
static_assert(Console::kLogSignal == manifest::kLogSignal);
static_assert(Console::kVmsSignal == manifest::kVmsSignal);
static_assert(Console::kMonitorSignal == manifest::kMonitorSignal);
static_assert(sizeof(VmList) <= manifest::kVmsBytes);
static_assert(sizeof(ConsoleState) <= manifest::kJournalBytes);
static_assert(MonitorChannel::kBytes == manifest::kMonitorBytes);
static_assert(Console::kMaxGuests == manifest::kGuestBitCount);
static_assert(Console::kMaxGuests <= WireLine::kLogWriter);
static_assert(manifest::kRingCount == manifest::kGuestBitCount);
static_assert(manifest::kHvcRingStride == manifest::kRingStride);
static_assert(manifest::kHvcRingBytes == manifest::kRingBytes);

// commit.S
extern "C" {
void atoll_read_into(volatile uint32_t* source, uint32_t mark, uint32_t* word);
void atoll_commit(volatile uint32_t* word0, uint32_t value0, volatile uint32_t* word1,
                  uint32_t value1, volatile uint32_t* word2, uint32_t value2,
                  volatile uint32_t* word3, uint32_t value3);
extern const char atoll_commit_window[];
extern const char atoll_commit_window_end[];
}

namespace {

// The registers of the machine's UART.
class DevicePage final : public UartPort {
 public:
  uint32_t Read(uint32_t offset) override { return *At(offset); }
  void Write(uint32_t offset, uint32_t value) override { *At(offset) = value; }
  void ReadInto(uint32_t offset, uint32_t mark, uint32_t& word) override {
    atoll_read_into(At(offset), mark, &word);
  }
  void WriteWith(uint32_t offset, uint32_t value, const Stores& stores) override {
    atoll_commit(At(offset), value, At(stores[0]), stores[0].value, At(stores[1]), stores[1].value,
                 At(stores[2]), stores[2].value);
  }
  void Commit(const Stores& stores) override {
    atoll_commit(At(stores[0]), stores[0].value, At(stores[1]), stores[1].value, At(stores[2]),
                 stores[2].value, At(stores[3]), stores[3].value);
  }

 private:
  static volatile uint32_t* At(uint32_t offset) {
    return TaskPointer<volatile uint32_t>(manifest::kUartAddress + offset);
  }
  volatile uint32_t* At(const WordStore& store) {
    return store.word != nullptr ? store.word : &nowhere_;
  }

  uint32_t nowhere_ = 0;  // of the stores that are not to be made
};

class SignalLoop final : public SignalHandler {
 public:
  SignalLoop(Console& console, KernelIrq& irq) : console_(console), irq_(irq) {}

  void OnSignals(uint64_t bits) override {
    console_.OnSignals(bits);
    // After the cause was served or masked in the UART; else it would come again at once.
    if ((bits & manifest::kUartSignal) != 0) irq_.Acknowledge();
  }

 private:
  Console& console_;
  KernelIrq& irq_;
};

// A guest's line: what leads to it.
struct NamedLine {
  std::string_view name;
  ConsoleLine line;
  abi::Handle signal;
};

// Calls use(named_line) for each slot that is not empty. `rings`: of the first slot; `signal`: likewise.
template <size_t kNameBytes, typename Use>
void ForEachSlot(std::span<const char[kNameBytes]> names, VirtAddr rings, abi::Handle signal,
                 Use& use) {
  for (uint32_t slot = 0; slot < names.size(); ++slot) {
    const std::string_view name(names[slot], strnlen(names[slot], kNameBytes));
    if (name.empty()) continue;  // nothing is mapped in this slot
    const Result<ConsoleLine> line = ConsoleLine::Attach(
        MappedMemory(rings + slot * manifest::kRingStride, manifest::kRingBytes));
    if (!line.has_value()) Panic("ring of ", name, ": ", line.error());
    use(NamedLine{name, *line, abi::Handle{signal.slot + slot}});
  }
}

template <typename Use>
void ForEachLine(const atoll_ConsoleConfig& config, Use use) {
  ForEachSlot(std::span(config.guest).first(config.guest_count), manifest::kRingAddress,
              manifest::kGuest, use);
  ForEachSlot(std::span(config.hvc).first(config.hvc_count), manifest::kHvcRingAddress,
              manifest::kHvc, use);
}

std::span<std::byte> MonitorMemory() {
  return MappedMemory(manifest::kMonitorAddress, manifest::kMonitorBytes);
}

class SilentLoop final : public SignalHandler {
 public:
  explicit SilentLoop(SilentConsole& console) : console_(console) {}
  void OnSignals(uint64_t bits) override { console_.OnSignals(bits); }

 private:
  SilentConsole& console_;
};

// Failed mode.
void ServeSilently(const atoll_ConsoleConfig& config) {
  KernelNotifier flushed(manifest::kFlushed);
  const auto answers = ByteRingReader::Attach(MonitorChannel::Output(MonitorMemory()));
  if (!answers.has_value()) Panic("monitor: ", answers.error());
  SilentConsole console(*answers, flushed);
  std::array<std::optional<KernelNotifier>, Console::kMaxGuests> notifiers;
  ForEachLine(config, [&, count = size_t{0}](const NamedLine& guest) mutable {
    if (count == notifiers.size()) return;
    console.AddGuest(guest.line, notifiers[count++].emplace(guest.signal));
  });
  console.OnSignals(Console::kFlushSignal);  // the earlier instance may have been asked
  SilentLoop loop(console);
  Serve(loop);
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  atoll_ConsoleConfig config{};
  if (!DecodeMessage(start.config, atoll_ConsoleConfig_fields, &config)) {
    Panic("configuration of ", start.config.size(), " bytes is not a ConsoleConfig");
  }
  if (start.failed) return ServeSilently(config);

  const Result<ConsoleState*> state =
      AttachConsoleState(MappedMemory(abi::kJournalBase, manifest::kJournalBytes));
  if (!state.has_value()) Panic("journal: ", state.error());

  // Before the UART is touched.
  const auto window = reinterpret_cast<uint64_t>(&atoll_commit_window);
  const uint64_t window_end = reinterpret_cast<uint64_t>(&atoll_commit_window_end);
  const Status protected_window = kernel::SetCommitWindow(
      {.address = window, .bytes = static_cast<uint32_t>(window_end - window)});
  if (!IsOk(protected_window)) Panic("commit window: ", protected_window);
  DevicePage registers;
  Uart uart(registers);
  KernelTimer timer;
  const SystemCounter counter;
  KernelNotifier power_off(manifest::kPowerOff);
  KernelNotifier flushed(manifest::kFlushed);
  KernelNotifier log_room(manifest::kLogRoom);
  const Result<ByteRingReader> log =
      ByteRingReader::Attach(MappedMemory(manifest::kLogAddress, manifest::kLogBytes));
  if (!log.has_value()) Panic("log: ", log.error());
  auto* const vms = TaskPointer<VmList>(manifest::kVmsAddress);
  const std::span<std::byte> channel = MonitorMemory();
  const Result<ByteRingReader> output = ByteRingReader::Attach(MonitorChannel::Output(channel));
  const Result<ByteRingWriter> input = ByteRingWriter::Attach(MonitorChannel::Input(channel));
  if (!output.has_value() || !input.has_value()) Panic("monitor: no rings");
  KernelNotifier supervisor(manifest::kMonitor);
  Console console({uart,
                   timer,
                   counter,
                   power_off,
                   flushed,
                   *log,
                   log_room,
                   {*output, *input, MonitorChannel::Expected(channel),
                    MonitorChannel::PowerOff(channel), supervisor},
                   vms},
                  **state);

  std::array<std::optional<KernelNotifier>, Console::kMaxGuests> notifiers;
  ForEachLine(config, [&, count = size_t{0}](const NamedLine& guest) mutable {
    if (count == notifiers.size()) Panic("there are more lines than ", count);
    Notifier& input = notifiers[count++].emplace(guest.signal);
    const Status added = console.AddGuest({guest.name, guest.line, input});
    if (!IsOk(added)) Panic(guest.name, ": ", added);
  });

  console.Start();
  KernelIrq irq(manifest::kUartIrq);
  irq.Acknowledge();  // an earlier instance may have ended before it did
  SignalLoop loop(console, irq);
  Serve(loop);
}

}  // namespace atoll
