#include "kernel/memory/page_table.h"

namespace atoll {

static_assert(TaskTable::kRootBytes == kPageSize);
static_assert(KernelTable::kRootBytes == kPageSize);
static_assert(Stage2Table::kRootBytes == 2 * kPageSize);  // two concatenated tables
static_assert(TaskTable::EntryBytes(2) == kBlockSize);

template class BasicPageTable<KernelDirectMap>;

}  // namespace atoll
