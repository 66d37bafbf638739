// A vector of at most N elements, in place.
#ifndef ATOLL_KERNEL_MACHINE_BOUNDED_VECTOR_H_
#define ATOLL_KERNEL_MACHINE_BOUNDED_VECTOR_H_

#include <array>
#include <cstddef>
#include <span>

namespace atoll {

template <typename T, size_t N>
class BoundedVector {
 public:
  // False if it is full.
  [[nodiscard]] constexpr bool PushBack(const T& value) {
    if (size_ == N) return false;
    elements_[size_++] = value;
    return true;
  }
  constexpr size_t size() const { return size_; }
  constexpr bool full() const { return size_ == N; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr T& operator[](size_t i) { return span()[i]; }
  constexpr const T& operator[](size_t i) const { return span()[i]; }
  constexpr auto begin() { return elements_.begin(); }
  constexpr auto end() { return elements_.begin() + size_; }
  constexpr auto begin() const { return elements_.begin(); }
  constexpr auto end() const { return elements_.begin() + size_; }
  constexpr std::span<T> span() { return {elements_.data(), size_}; }
  constexpr std::span<const T> span() const { return {elements_.data(), size_}; }

 private:
  std::array<T, N> elements_ = {};
  size_t size_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_MACHINE_BOUNDED_VECTOR_H_
