// A device's registers as data: name, place, width, access, reset value, writable bits.
//
// The table is checked when it is compiled. A mistake in it ends compilation inside one of the
// functions of namespace register_table_error: its name says what is wrong, its arguments, which
// compilers show, which registers.
//
// Access rules, common to the devices that use it: 8-, 16- and 32-bit accesses at a register's own
// offset reach the register; a narrow load gives its low bytes, a narrow store is zero-extended.
// Everything else (64-bit, an offset inside or between registers, beyond the region) is reserved:
// loads give 0, stores do nothing.
#ifndef ATOLL_SERVICES_RUNTIME_REGISTER_TABLE_H_
#define ATOLL_SERVICES_RUNTIME_REGISTER_TABLE_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "services/runtime/device.h"

namespace atoll {

enum class RegisterMode : uint8_t {
  kReadWrite,
  kReadOnly,   // stores do nothing
  kWriteOnly,  // loads give 0
  kOneClears,  // of register_device.h: ones that are stored clear bits
};

struct RegisterEntry {
  const char* name;
  uint32_t offset;  // bytes from the start of the region, multiple of 4
  uint32_t bits;    // width, 1..32; the bits above read 0 and ignore stores
  RegisterMode mode;
  uint32_t reset = 0;
  uint32_t writable = 0;  // bits that a store changes; all of them lie within `bits`
  uint32_t words = 1;     // at so many offsets, one behind the other, it is the same register
};

namespace register_table_error {
// Not constexpr: reaching it in a constant expression is the error. (Nobody calls it at run time;
// there is none.)
void StopCompilation();
// The condition, always true, is for GCC 12: it wants constexpr functions to have a constant path.
constexpr void RegistersOverlap(const char* name, const char* other) {
  if (name != nullptr && other != nullptr) StopCompilation();
}
constexpr void OffsetIsNotAMultipleOf4(const char* name) {
  if (name != nullptr) StopCompilation();
}
constexpr void OffsetIsOutsideTheRegion(const char* name) {
  if (name != nullptr) StopCompilation();
}
constexpr void WidthIsNot1To32(const char* name) {
  if (name != nullptr) StopCompilation();
}
constexpr void ResetValueIsWiderThanTheRegister(const char* name) {
  if (name != nullptr) StopCompilation();
}
constexpr void WritableBitsAreWiderThanTheRegister(const char* name) {
  if (name != nullptr) StopCompilation();
}
constexpr void ReadOnlyRegisterHasWritableBits(const char* name) {
  if (name != nullptr) StopCompilation();
}
constexpr void WritableRegisterHasNoWritableBits(const char* name) {
  if (name != nullptr) StopCompilation();
}
}  // namespace register_table_error

// `kRegisters` registers in a region of `kRegionBytes`. Registers are known by their index in the
// table.
template <size_t kRegisters, uint32_t kRegionBytes>
class RegisterTable {
  static_assert(kRegisters < 255 && kRegionBytes % 4 == 0);

 public:
  using Values = std::array<uint32_t, kRegisters>;

  // What Find gives for reserved places.
  static constexpr size_t kReserved = kRegisters;

  // No registers.
  consteval RegisterTable() { index_.fill(kReserved); }
  consteval explicit RegisterTable(const RegisterEntry (&entries)[kRegisters]) {
    index_.fill(kReserved);
    for (size_t i = 0; i < kRegisters; ++i) {
      const RegisterEntry& entry = entries[i];
      Check(entry);
      for (size_t word = 0; word < entry.words; ++word) {
        uint8_t& place = index_[entry.offset / 4 + word];
        if (place != kReserved) {
          register_table_error::RegistersOverlap(entry.name, entries[place].name);
        }
        place = static_cast<uint8_t>(i);
      }
      offsets_[i] = entry.offset;
      reset_[i] = entry.reset;
      mask_[i] = Mask(entry.bits);
      readable_[i] = entry.mode == RegisterMode::kWriteOnly ? 0 : Mask(entry.bits);
      writable_[i] = entry.writable;
    }
  }

  // The register that an access reaches, or kReserved.
  constexpr size_t Find(const RegisterAccess& access) const {
    // Rotating puts the two low bits on top: an offset that is not a multiple of 4 becomes too
    // large as well.
    const uint64_t word = std::rotr(access.offset, 2);
    if (word >= kRegionBytes / 4 || access.size > 4) return kReserved;
    return index_[word];
  }

  // The value a load gives, from what the register holds. Here and below: `index` is not kReserved.
  constexpr uint64_t Loaded(size_t index, const RegisterAccess& access, uint32_t held) const {
    return held & readable_[index] & Mask(access.size * 8);
  }

  // What the register holds after a store.
  constexpr uint32_t Stored(size_t index, const RegisterAccess& access, uint32_t held) const {
    const uint32_t value = static_cast<uint32_t>(access.value) & Mask(access.size * 8);
    return (held & ~writable_[index]) | (value & writable_[index]);
  }

  constexpr uint32_t writable(size_t index) const { return writable_[index]; }
  constexpr uint32_t mask(size_t index) const { return mask_[index]; }  // bits that it has
  constexpr uint32_t reset(size_t index) const { return reset_[index]; }
  constexpr const Values& reset_values() const { return reset_; }
  constexpr uint32_t offset(size_t index) const { return offsets_[index]; }

 private:
  // `bits` at most 32.
  static constexpr uint32_t Mask(uint32_t bits) {
    return static_cast<uint32_t>((uint64_t{1} << bits) - 1);
  }

  static consteval void Check(const RegisterEntry& entry) {
    namespace error = register_table_error;
    if (entry.offset % 4 != 0) error::OffsetIsNotAMultipleOf4(entry.name);
    if (entry.offset >= kRegionBytes || entry.words > (kRegionBytes - entry.offset) / 4) {
      error::OffsetIsOutsideTheRegion(entry.name);
    }
    if (entry.bits < 1 || entry.bits > 32) error::WidthIsNot1To32(entry.name);
    if ((entry.reset & ~Mask(entry.bits)) != 0) {
      error::ResetValueIsWiderThanTheRegister(entry.name);
    }
    if ((entry.writable & ~Mask(entry.bits)) != 0) {
      error::WritableBitsAreWiderThanTheRegister(entry.name);
    }
    if (entry.mode == RegisterMode::kReadOnly && entry.writable != 0) {
      error::ReadOnlyRegisterHasWritableBits(entry.name);
    }
    if (entry.mode != RegisterMode::kReadOnly && entry.writable == 0) {
      error::WritableRegisterHasNoWritableBits(entry.name);
    }
  }

  std::array<uint8_t, kRegionBytes / 4> index_{};
  Values offsets_{};
  Values mask_{};
  Values reset_{};
  Values readable_{};
  Values writable_{};
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_REGISTER_TABLE_H_
