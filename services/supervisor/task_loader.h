// A task's own memory: made from its ELF file at first, and made fresh for each
// new instance.
#ifndef ATOLL_SERVICES_SUPERVISOR_TASK_LOADER_H_
#define ATOLL_SERVICES_SUPERVISOR_TASK_LOADER_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "proto/plan.pb.h"
#include "services/supervisor/archive.h"
#include "services/supervisor/elf_image.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/objects.h"
#include "services/supervisor/task_history.h"

namespace atoll {

// Of the statistics page in the memory of private_slot, behind stack and configuration.
uint64_t StatisticsOffset(const atoll_PlanTask& task);

class TaskLoader {
 public:
  constexpr TaskLoader(KernelCalls& kernel, Objects& objects, const Archive& archive)
      : kernel_(kernel), objects_(objects), archive_(archive) {}

  // Creates and maps image, stack, configuration, statistics page and IPC page of a task
  // that was just created.
  Checked<void> Load(const atoll_PlanTask& task);

  // Writes a piece of its start configuration. The error is a reason without a
  // place.
  Checked<void> WriteConfig(const atoll_PlanTask& task, uint64_t offset,
                            std::span<const std::byte> data);

  // Starts the first instance, or the next one of a task that is dead.
  // blamed: the instance before died of what it did (StartInfo).
  Checked<void> Start(const atoll_PlanTask& task, uint32_t generation, TaskMode mode,
                      bool blamed = false);

  // Makes the memory of a dead task as Load left it. The configuration is
  // read-only to the task and the journal is to outlive it: neither is touched.
  Checked<void> Refresh(const atoll_PlanTask& task);

  // The image of a dead task goes, and that of task.elf comes: another build, as fresh as after Refresh.
  Checked<void> UnloadImage(const atoll_PlanTask& task);
  Checked<void> LoadImage(const atoll_PlanTask& task);

  // A file of the boot archive, if it is one.
  Checked<ElfImage> Image(std::string_view name) const;
  static bool HasFaultTable(const ElfImage& image);

 private:
  Checked<ElfImage> Image(const atoll_PlanTask& task) const;
  Checked<void> Fill(const atoll_PlanTask& task, const ElfImage& image, const ElfSegment& segment);

  KernelCalls& kernel_;
  Objects& objects_;
  const Archive& archive_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_TASK_LOADER_H_
