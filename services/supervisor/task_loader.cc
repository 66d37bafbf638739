#include "services/supervisor/task_loader.h"

#include <algorithm>
#include <cstring>

#include "services/runtime/faults.h"

namespace atoll {
namespace {

constexpr uint32_t kReadOnly = Rights(Right::kRead);
constexpr uint32_t kReadWrite = Rights(Right::kRead, Right::kWrite);
constexpr uint32_t kReadExecute = Rights(Right::kRead, Right::kExecute);

uint32_t SegmentRights(const ElfSegment& segment) {
  if (segment.execute) return kReadExecute;
  return segment.write ? kReadWrite : kReadOnly;
}

uint64_t ConfigPages(const atoll_PlanTask& task) {
  return task.config_bytes == 0 ? 0 : abi::kConfigBytes;
}

// Says which part of the task's memory could not be had.
Checked<void> Check(Status status, std::string_view part) {
  if (IsOk(status)) return {};
  return std::unexpected(LogLine(part).Append(": ").Append(StatusName(status)));
}

}  // namespace

uint64_t StatisticsOffset(const atoll_PlanTask& task) {
  return task.stack_bytes + ConfigPages(task);
}

Checked<void> TaskLoader::Load(const atoll_PlanTask& task) {
  if (task.stack_bytes == 0 || task.stack_bytes % kPageSize != 0 ||
      task.stack_bytes > kMaxStackBytes) {
    return std::unexpected(LogLine("stack_bytes is not a page multiple up to 1 MiB"));
  }
  if (task.config_bytes > abi::kConfigBytes) {
    return std::unexpected(LogLine("config_bytes is above 16384"));
  }
  if (auto loaded = LoadImage(task); !loaded) return loaded;

  const uint64_t config_pages = ConfigPages(task);
  Status status = objects_.CreateRam(task.private_slot, StatisticsOffset(task) + kPageSize);
  if (IsOk(status)) {
    const VirtAddr stack = abi::kStackTop - task.stack_bytes;
    status =
        objects_.Map(task.private_slot, task.slot, 0, stack.value, task.stack_bytes, kReadWrite);
  }
  if (IsOk(status) && config_pages != 0) {
    status = objects_.Map(task.private_slot, task.slot, task.stack_bytes, abi::kConfigPage.value,
                          config_pages, kReadOnly);
  }
  if (IsOk(status)) {
    status = objects_.Map(task.private_slot, task.slot, StatisticsOffset(task),
                          abi::kStatisticsPage.value, kPageSize, kReadWrite);
  }
  if (auto ok = Check(status, "stack, configuration and statistics"); !ok) return ok;

  status = objects_.CreateRam(task.ipc_slot, abi::kIpcBytes);
  if (IsOk(status)) {
    status =
        objects_.Map(task.ipc_slot, task.slot, 0, abi::kIpcPage.value, abi::kIpcBytes, kReadWrite);
  }
  return Check(status, "IPC page");
}

Checked<void> TaskLoader::LoadImage(const atoll_PlanTask& task) {
  const Checked<ElfImage> image = Image(task);
  if (!image) return std::unexpected(image.error());

  // An upgrade makes it long after the plan's record: it goes when its own VM ends, no sooner.
  objects_.set_owner(task.vm);
  if (auto ok = Check(objects_.CreateRam(task.image_slot, image->bytes()), "image"); !ok) return ok;
  for (const ElfSegment& segment : image->segments()) {
    // Filled first: the kernel makes the instruction cache see it when it maps
    // it executable.
    if (auto ok = Fill(task, *image, segment); !ok) return ok;
    const VirtAddr address = segment.first_page();
    if (auto ok =
            Check(objects_.Map(task.image_slot, task.slot, address - image->first_page(),
                               address.value, segment.end_page() - address, SegmentRights(segment)),
                  "image");
        !ok) {
      return ok;
    }
  }
  return {};
}

Checked<void> TaskLoader::UnloadImage(const atoll_PlanTask& task) {
  if (!objects_.Exists(task.image_slot)) return {};
  Status status = objects_.UnmapAll(task.image_slot, task.slot);
  if (IsOk(status)) status = objects_.Destroy(task.image_slot);
  return Check(status, "image");
}

Checked<void> TaskLoader::WriteConfig(const atoll_PlanTask& task, uint64_t offset,
                                      std::span<const std::byte> data) {
  if (!InBounds(offset, data.size(), task.config_bytes)) {
    return std::unexpected(LogLine("config.offset and data are beyond the task's config_bytes"));
  }
  const Result<std::span<std::byte>> memory =
      objects_.Open(task.private_slot, task.stack_bytes, abi::kConfigBytes);
  if (!memory.has_value()) return Check(memory.error(), "configuration");
  std::ranges::copy(data, memory->begin() + offset);
  return Check(objects_.Close(), "configuration");
}

Checked<void> TaskLoader::Start(const atoll_PlanTask& task, uint32_t generation, TaskMode mode,
                                bool blamed) {
  const Checked<ElfImage> image = Image(task);
  if (!image) return std::unexpected(image.error());
  VirtAddr entry = image->entry();
  if (mode == TaskMode::kRefusing) {
    if (!HasFaultTable(*image)) return std::unexpected(LogLine("its image has no table of faults"));
    entry = FaultEntry(kRefuse);
  }
  const uint64_t flags =
      (mode == TaskMode::kNormal ? 0 : abi::kStartFailed) | (blamed ? abi::kStartBlamed : 0);
  return Check(kernel_.StartTask(abi::Handle{task.slot}, {.pc = entry.value,
                                                          .sp = abi::kStackTop.value,
                                                          .argument = task.config_bytes,
                                                          .generation = generation | flags,
                                                          .ipc_memory = task.ipc_slot}),
               "start");
}

bool TaskLoader::HasFaultTable(const ElfImage& image) {
  for (const ElfSegment& segment : image.segments()) {
    FaultTable table;
    if (segment.address > kFaultTable) continue;
    const uint64_t offset = kFaultTable - segment.address;
    if (!InBounds(offset, sizeof(table), segment.data.size())) continue;
    std::memcpy(&table, segment.data.data() + offset, sizeof(table));
    return table.magic == FaultTable::kMagic && table.count >= kFaultEntries;
  }
  return false;
}

Checked<void> TaskLoader::Refresh(const atoll_PlanTask& task) {
  const Checked<ElfImage> image = Image(task);
  if (!image) return std::unexpected(image.error());
  for (const ElfSegment& segment : image->segments()) {
    if (!segment.write) continue;  // the task could not change it
    if (auto ok = Fill(task, *image, segment); !ok) return ok;
  }
  Status status = objects_.Clear(task.private_slot, 0, task.stack_bytes);
  if (IsOk(status)) status = objects_.Clear(task.private_slot, StatisticsOffset(task), kPageSize);
  if (IsOk(status)) status = objects_.Clear(task.ipc_slot, 0, abi::kIpcBytes);
  return Check(status, "stack, statistics and IPC page");
}

Checked<ElfImage> TaskLoader::Image(const atoll_PlanTask& task) const { return Image(task.elf); }

Checked<ElfImage> TaskLoader::Image(std::string_view name) const {
  const Archive::File* file = archive_.Find(name);
  if (file == nullptr) {
    return std::unexpected(LogLine("boot archive: there is no \"").Append(name).Append("\""));
  }
  return ElfImage::Parse(file->name, file->data);
}

Checked<void> TaskLoader::Fill(const atoll_PlanTask& task, const ElfImage& image,
                               const ElfSegment& segment) {
  const VirtAddr first = segment.first_page();
  const Result<std::span<std::byte>> memory =
      objects_.Open(task.image_slot, first - image.first_page(), segment.end_page() - first);
  if (!memory.has_value()) return Check(memory.error(), "image");
  std::memset(memory->data(), 0, memory->size());
  // Not std::ranges::copy, which goes byte by byte here. What fits was checked when the file was parsed.
  if (!segment.data.empty()) {
    std::memcpy(memory->data() + (segment.address - first), segment.data.data(),
                segment.data.size());
  }
  return Check(objects_.Close(), "image");
}

}  // namespace atoll
