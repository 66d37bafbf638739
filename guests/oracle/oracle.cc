// A guest that knows what every answer of its devices must be, and says so if one is another. Its command line:
//   name=VM        heads its reports
//   work=A,B,..    of disk, net, rng, ports, vsock, wdog, gpio, uart, console, rtc, gic, vcpu; or `reset`: the VM resets
//                  `lives` times. Devices of the first seven are in virtio slots, in this order
//   ms=N           for so long, then it reports and turns itself off; or sooner:
//   until=key      ... when a `q` is typed, or the peer says that it ends (not with frames=answer)
//   then=reset     ... instead of turning itself off it resets
//   patience=N     milliseconds until something is taken for lost
//   pause=N        microseconds between two rounds
//   depth=N span=N requests at a time, and sectors of one, of the disk; depth 1: write and read back
//   peer=N         number of the VM that frames and streams go to
//   own=N          number of this one; the peer's: what is sent through ports and sockets comes back
//   frames=answer  it only answers the peer's, which may begin anew, and sends back what comes through a socket
//   vsock=host     the stream of sockets goes by way of the host, whose port 5000 leads to that of the VM with the higher CID
//   variant=N      of wdog: 0 only feeds, 1 only waits for interrupts
//   lives=N        with work=reset: how often it resets
#include <algorithm>

#include "guests/oracle/disk.h"
#include "guests/oracle/gpio.h"
#include "guests/oracle/life.h"
#include "guests/oracle/machine.h"
#include "guests/oracle/network.h"
#include "guests/oracle/ports.h"
#include "guests/oracle/rng.h"
#include "guests/oracle/sockets.h"
#include "guests/oracle/watchdog.h"

namespace oracle {
namespace {

inline constexpr uint32_t kDiskSlot = 0;
inline constexpr uint32_t kRequestsPerRound = 12;
inline constexpr uint32_t kFramesPerRound = 6;
inline constexpr uint32_t kSentPerRound = 4;
inline constexpr uint64_t kBothVariants = 2;
inline constexpr uint32_t kRoundsPerLine = 16;
inline constexpr uint64_t kSystemReset = 0x8400'0009;  // PSCI 1.1 (DEN0022)

constinit DiskOracle disk(1);
constinit NetworkOracle network(2);
constinit UartOracle uart(3);
constinit ConsoleOracle console;
constinit RtcOracle rtc;
constinit GicOracle gic(4);
constinit RngOracle rng(5);
constinit PortOracle ports(6);
constinit SocketOracle sockets(7);
constinit WatchdogOracle watchdog;
constinit GpioOracle gpio(8);
constinit PowerOracle power;

void Idle(uint64_t microseconds) {
  WaitFor([] { return false; }, microseconds);
}

// What is before the first `separator`; `rest` is then what is behind it.
std::string_view TakeFirst(std::string_view& rest, char separator) {
  const size_t length = std::min(rest.find(separator), rest.size());
  const std::string_view first(rest.data(), length);
  rest.remove_prefix(std::min(length + 1, rest.size()));
  return first;
}

class CommandLine {
 public:
  explicit CommandLine(uint64_t device_tree) {
    const char* const tree = reinterpret_cast<const char*>(device_tree);
    const std::string_view blob(tree, __builtin_bswap32(bare::Load32(device_tree + 4)));
    const size_t at = blob.find("name=");
    if (at == std::string_view::npos) return;
    text_ = {tree + at, blob.find('\0', at) - at};
  }
  std::string_view Word(std::string_view key) const {
    for (std::string_view rest = text_; !rest.empty();) {
      std::string_view word = TakeFirst(rest, ' ');
      if (!word.starts_with(key)) continue;
      word.remove_prefix(key.size());
      if (!word.starts_with('=')) continue;
      word.remove_prefix(1);
      return word;
    }
    return {};
  }
  uint64_t Number(std::string_view key, uint64_t otherwise) const {
    const std::string_view word = Word(key);
    uint64_t number = 0;
    for (const char c : word) number = number * 10 + static_cast<uint64_t>(c - '0');
    return word.empty() ? otherwise : number;
  }

 private:
  std::string_view text_;
};

// Counts its lives on its disk and asks for the next one.
[[noreturn]] void Reset(const CommandLine& line) {
  Report report("reset");
  uint32_t life = 0;
  if (!CountLife(kDiskSlot, life)) report.Lost("the count of lives");
  report.Line(life);
  Idle(line.Number("pause", 1000));
  if (life < line.Number("lives", 1)) bare::Hvc(kSystemReset);
  report.Done(life);
  report.Begin();
  report.End();
  bare::PowerOff();
}

class Work {
 public:
  explicit Work(const CommandLine& line)
      : what_(line.Word("work")),
        pause_(line.Number("pause", 200)),
        depth_(static_cast<uint32_t>(line.Number("depth", DiskOracle::kDepthMax))),
        span_(static_cast<uint32_t>(line.Number("span", DiskOracle::kSpanMax))),
        end_(bare::Counter() + Ticks(line.Number("ms", 1000) * 1000)),
        variant_(line.Number("variant", kBothVariants)),
        until_key_(line.Word("until") == "key"),
        follows_(line.Word("frames") == "answer") {
    const auto peer = static_cast<uint32_t>(line.Number("peer", 1));
    const auto own = static_cast<uint32_t>(line.Number("own", 0));
    uint32_t slot = kDiskSlot;
    if (Has("disk")) has_disk_ = disk.Start(slot++);
    if (Has("net")) has_network_ = network.Start(slot++, peer);
    if (follows_) network.Follow();
    if (Has("rng")) has_rng_ = rng.Start(slot++);
    if (Has("ports")) has_ports_ = ports.Start(slot++, own, peer);
    if (line.Word("vsock") == "host") sockets.GoByHost();
    if (follows_) sockets.Follow();
    if (Has("vsock")) has_sockets_ = sockets.Start(slot++, own == peer);
    if (Has("wdog")) watchdog.Start(slot++);
    if (Has("gpio")) gpio.Start(slot++);
    if (Has("rtc")) rtc.Start();
  }

  void Run() {
    for (uint32_t round = 0; bare::Counter() < end_ && !IsToldToEnd(); ++round) {
      Round(round);
      if (pause_ != 0) Idle(pause_);
    }
    if (has_disk_) disk.Finish();
    if (has_network_) network.Finish();
    if (has_rng_) rng.Finish();
    if (has_ports_) ports.Finish();
    if (has_sockets_) sockets.Finish();
    if (Has("wdog")) watchdog.Finish();
    if (Has("gpio")) gpio.Finish();
    if (Has("uart")) uart.Finish();
    if (Has("rtc")) rtc.Finish();
    if (Has("gic")) gic.Finish();
    if (Has("vcpu")) power.Finish();
    if (Has("console")) console.Finish();
  }

 private:
  bool Has(std::string_view name) const {
    for (std::string_view rest = what_; !rest.empty();) {
      if (TakeFirst(rest, ',') == name) return true;
    }
    return false;
  }

  bool IsToldToEnd() const {
    if (!until_key_) return false;
    const bool peer_ends = !follows_ && has_network_ && network.peer_ended();
    return uart.IsTyped('q') || peer_ends || (has_ports_ && ports.peer_ended()) ||
           (has_sockets_ && sockets.peer_ended());
  }

  template <typename Oracle, typename Action>
  static void Timed(Oracle& oracle, Action action) {
    const uint64_t began = bare::Counter();
    action();
    oracle.Took(began);
  }

  void Round(uint32_t round) {
    if (follows_) {
      ServeDevices();
    } else if (has_network_ && depth_ == 1) {
      Timed(network, [] { network.SendAndWait(1); });
    } else if (has_network_) {
      Timed(network, [] { network.Send(kFramesPerRound); });
    }
    if (has_disk_ && depth_ == 1) {
      Timed(disk, [&] { disk.WriteAndRead(span_); });
    } else if (has_disk_) {
      Timed(disk, [&] { disk.Round(kRequestsPerRound, depth_, span_); });
    }
    if (has_rng_) Timed(rng, [&] { rng.Round(depth_ == 1 ? 1 : kSentPerRound); });
    if (has_ports_) {
      Timed(ports, [&] { depth_ == 1 ? ports.SendAndWait() : ports.Send(kSentPerRound); });
    }
    if (has_sockets_) {
      Timed(sockets, [&] { depth_ == 1 ? sockets.SendAndWait() : sockets.Send(kSentPerRound); });
    }
    if (Has("wdog")) {
      Timed(watchdog, [&] { watchdog.Round(static_cast<WatchdogOracle::What>(variant_)); });
    }
    if (Has("gpio")) Timed(gpio, [] { gpio.Round(); });
    if (Has("uart")) Timed(uart, [] { uart.Round(); });
    if (Has("rtc")) Timed(rtc, [] { rtc.Round(); });
    if (Has("gic")) Timed(gic, [] { gic.Round(); });
    if (Has("vcpu")) Timed(power, [] { power.Round(); });
    if (Has("console") && round % kRoundsPerLine == 0) Timed(console, [] { console.Round(); });
  }

  std::string_view what_;
  uint64_t pause_;
  uint32_t depth_, span_;
  uint64_t end_;
  uint64_t variant_;
  bool until_key_, follows_;
  bool has_disk_ = false, has_network_ = false, has_rng_ = false, has_ports_ = false,
       has_sockets_ = false;
};

}  // namespace
}  // namespace oracle

extern "C" void GuestMain(uint64_t device_tree) {
  using namespace oracle;
  const CommandLine line(device_tree);
  SetVm(line.Word("name"));
  patience = line.Number("patience", patience / 1000) * 1000;
  StartEvents();
  if (line.Word("work") == "reset") Reset(line);
  Work work(line);
  work.Run();
  if (line.Word("then") == "reset") bare::Hvc(kSystemReset);
}
