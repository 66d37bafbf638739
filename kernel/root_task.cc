#include "kernel/root_task.h"

#include <cstring>
#include <span>

#include "kernel/direct_map.h"
#include "kernel/donation.h"
#include "kernel/endpoint.h"
#include "kernel/ipc.h"
#include "kernel/log/panic.h"
#include "kernel/memory/cache.h"
#include "kernel/memory/page_table.h"
#include "kernel/memory/translation_registers.h"
#include "kernel/pools.h"
#include "kernel/root_restart.h"
#include "kernel/task_life.h"
#include "kernel/vcpu/traps_configuration.h"

extern "C" const std::byte supervisor_image_start[], supervisor_image_end[];

namespace atoll {
namespace {

inline constexpr uint32_t kHandles = 2048;
inline constexpr uint32_t kTablePages =
    160;  // the archive (4 KiB pages if it is not block aligned) needs most
inline constexpr uint32_t kTimerBit = 63;
inline constexpr uint32_t kAllRights = 511;

// ELF-64, as far as the linker script of services uses it (System V ABI, object files).
struct ElfHeader {
  uint8_t identification[16];
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, program_headers, section_headers;
  uint32_t flags;
  uint16_t header_bytes, program_header_bytes, program_header_count, rest[3];
};
struct ProgramHeader {
  uint32_t type, flags;
  uint64_t offset, address, physical, file_bytes, memory_bytes, alignment;
};
inline constexpr uint32_t kLoad = 1;
inline constexpr uint32_t kExecutable = 1;
inline constexpr uint32_t kWritable = 2;

void MapAll(Task& task, VirtAddr address, PhysAddr phys, uint64_t bytes,
            PageAttributes attributes) {
  TaskTable table(task.root, task.tables);
  for (uint64_t done = 0; done < bytes;) {
    const Result<uint64_t> mapped =
        table.Map(address + done, phys + done, bytes - done, attributes, 512);
    if (!mapped.has_value()) Panic("the supervisor does not fit into its page tables");
    done += *mapped;
  }
}

// Maps fresh, cleared pages and returns where the kernel sees them.
std::byte* MapFresh(Task& task, BootPages& pages, VirtAddr address, uint64_t bytes,
                    PageAttributes attributes) {
  const uint64_t rounded = AlignUp(bytes, kPageSize);
  const PhysAddr phys = pages.Take(rounded / kPageSize);
  std::memset(PhysToPointer<std::byte>(phys), 0, rounded);
  MapAll(task, address, phys, rounded, attributes);
  return PhysToPointer<std::byte>(phys);
}

// The image is our own, linked into the kernel, so it is trusted; its segments are page aligned.
void LoadImage(Task& task, BootPages& pages) {
  const std::span<const std::byte> image(supervisor_image_start, supervisor_image_end);
  if (image.size() < sizeof(ElfHeader)) Panic("the kernel was linked without a supervisor");
  ElfHeader header;
  std::memcpy(&header, image.data(), sizeof(header));
  for (uint16_t i = 0; i < header.program_header_count; ++i) {
    ProgramHeader segment;
    std::memcpy(&segment, image.data() + header.program_headers + i * sizeof(segment),
                sizeof(segment));
    if (segment.type != kLoad || segment.memory_bytes == 0) continue;
    const PageAttributes attributes = {.write = (segment.flags & kWritable) != 0,
                                       .execute = (segment.flags & kExecutable) != 0};
    const uint64_t inside = segment.address % kPageSize;
    std::byte* const memory = MapFresh(task, pages, VirtAddr(segment.address - inside),
                                       inside + segment.memory_bytes, attributes);
    std::memcpy(memory + inside, image.data() + segment.offset, segment.file_bytes);
    if (attributes.write) {
      if (root_image.data != nullptr || inside != 0) {
        Panic("the supervisor has more than one writable segment, or it is not aligned");
      }
      root_image.data = memory;
      root_image.data_bytes = AlignUp(segment.memory_bytes, kPageSize);
      root_image.file = image.data() + segment.offset;
      root_image.file_bytes = segment.file_bytes;
    }
    if (attributes.execute)
      MakeExecutable(memory, AlignUp(inside + segment.memory_bytes, kPageSize));
  }
  root_image.entry = header.entry;
}

}  // namespace

PhysAddr BootPages::Take(uint64_t pages) {
  if (usable_ < pages * kPageSize) Panic("too little memory to start; give the machine more");
  const PhysAddr taken = range_.base;
  range_.base = range_.base + pages * kPageSize;
  range_.bytes -= pages * kPageSize;
  usable_ -= pages * kPageSize;
  return taken;
}

Task& CreateRootTask(BootPages& pages, const PhysRange& archive) {
  const uint32_t table_pages = Donation::PagesFor(kHandles * sizeof(HandleEntry));
  const uint32_t total = Donation::PagesFor(sizeof(Task)) + table_pages + 1 + kTablePages;
  Donation donation(pages.Take(total).value | total);
  Task& task = *donation.Construct<Task>();
  task.backing = donation.base();
  task.backing_pages = total;
  task.references = 2;  // its own handle, its signal
  task.handles = reinterpret_cast<HandleEntry*>(donation.Take(table_pages));
  task.handle_count = kHandles;
  task.rank = abi::kMaxRank;
  task.root = donation.next();
  donation.Take(1);
  donation.GiveRest(task.tables);
  task.asid = pools.asids.Activate(task.asid_tag, 0, [] { InvalidateEveryTask(); });
  ++pools.tasks;
  task.ttbr0 = TranslationBase(task.root, task.asid);
  task.hcr = kHostHcr;
  task.token = uint64_t{pools.callers.Take()} << 48;
  task.schedule.priority = kRootPriority;
  task.port = &task.signal_port;
  task.timer.expired = OnTaskTimer;  // not a function of this file, which is gone after boot
  task.timer.owner = &task;
  task.timer_bit = kTimerBit;

  Donation signal_page(pages.Take(1).value | 1);
  Signal* const signal = signal_page.Construct<Signal>(&task);
  signal->references = 1;
  signal->backing = signal_page.base();
  signal->backing_pages = 1;
  task.handles[kRootTaskSlot] = {
      .object = &task, .type_and_rights = HandleEntry::Pack(ObjectType::kTask, kAllRights)};
  task.handles[kRootSignalSlot] = {
      .object = signal, .type_and_rights = HandleEntry::Pack(ObjectType::kSignal, kAllRights)};

  LoadImage(task, pages);
  root_image.stack =
      MapFresh(task, pages, abi::kStackTop - kRootStackBytes, kRootStackBytes, {.write = true});
  std::byte* const journal =
      MapFresh(task, pages, abi::kJournalBase, abi::kRootJournalBytes, {.write = true});
  root_image.death =
      reinterpret_cast<abi::RootDeath*>(journal + (abi::kRootDeathPage - abi::kJournalBase));
  task.ipc_page = MapFresh(task, pages, abi::kIpcPage, abi::kIpcBytes, {.write = true});
  if (archive.bytes != 0) {
    const PhysAddr first(AlignDown(archive.base.value, kPageSize));
    MapAll(task, kArchiveAddress, first, AlignUp(archive.end() - first, kPageSize), {});
  }
  StartTask(task, root_image.entry, abi::kStackTop.value, 0, 0);
  return task;
}

}  // namespace atoll
