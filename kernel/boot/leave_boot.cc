#include "kernel/boot/leave_boot.h"

#include <cstdint>

#include "kernel/boot/image.h"
#include "kernel/cpu.h"
#include "kernel/direct_map.h"
#include "kernel/log/panic.h"
#include "kernel/system_register.h"

namespace atoll {
namespace {

extern "C" [[noreturn]] void Resume(Thread* thread);

constexpr uint64_t kTableAddressMask =
    0x0000'ffff'ffff'f000;  // of TTBR1_EL2 (ASID 0) and table descriptors
constexpr uint64_t kIndexMask = 0x1ff;
constexpr uint64_t kDescriptorTypeMask = 3;
constexpr uint64_t kTableOrPage = 3;

// The level-3 entry of an address of the image, which boot mapped by pages
// (kernel/boot/kernel_map.cc).
volatile uint64_t& PageEntry(uint64_t address) {
  uint64_t table = Ttbr1El2::Read();
  for (unsigned shift : {30u, 21u}) {
    table = PhysToPointer<uint64_t>(
        PhysAddr(table & kTableAddressMask))[(address >> shift) & kIndexMask];
    if ((table & kDescriptorTypeMask) != kTableOrPage) Panic("the image is not mapped by pages");
  }
  return PhysToPointer<volatile uint64_t>(
      PhysAddr(table & kTableAddressMask))[(address >> 12) & kIndexMask];
}

void UnmapBootText() {
  const auto start = reinterpret_cast<uint64_t>(image_start);
  const auto end = reinterpret_cast<uint64_t>(image_text_start);
  for (uint64_t address = start; address < end; address += kPageSize) PageEntry(address) = 0;
  DsbIshst();  // the entries are gone before the TLB forgets them
  asm volatile("tlbi alle2is" ::: "memory");
  DsbIsh();
  Isb();
}

}  // namespace

void LeaveBoot(Thread* first) {
  UnmapBootText();
  boot_is_over.store(true, std::memory_order_release);
  Resume(first);
}

}  // namespace atoll
