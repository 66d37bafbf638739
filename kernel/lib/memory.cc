// The functions that the compiler may call for copies and comparisons. Used with the MMU off too,
// so no access is wider than its address is aligned. no_builtin: a loop must not become a call to
// itself.
#include <cstddef>
#include <cstdint>

namespace {

constexpr size_t kWord = sizeof(uint64_t);

bool WordAligned(uintptr_t address) { return address % kWord == 0; }

// Words may alias whatever was stored there.
using Word [[gnu::may_alias]] = uint64_t;

}  // namespace

extern "C" {

[[clang::no_builtin]] void* memcpy(void* destination, const void* source, size_t count) {
  auto* to = static_cast<unsigned char*>(destination);
  const auto* from = static_cast<const unsigned char*>(source);
  if (WordAligned(reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from))) {
    for (; count >= kWord; count -= kWord, to += kWord, from += kWord) {
      *reinterpret_cast<Word*>(to) = *reinterpret_cast<const Word*>(from);
    }
  }
  for (; count > 0; --count) *to++ = *from++;
  return destination;
}

[[clang::no_builtin]] void* memmove(void* destination, const void* source, size_t count) {
  auto* to = static_cast<unsigned char*>(destination);
  const auto* from = static_cast<const unsigned char*>(source);
  if (to <= from || to >= from + count) return memcpy(destination, source, count);
  while (count > 0) {
    --count;
    to[count] = from[count];
  }
  return destination;
}

[[clang::no_builtin]] void* memset(void* destination, int value, size_t count) {
  auto* to = static_cast<unsigned char*>(destination);
  const auto byte = static_cast<unsigned char>(value);
  if (WordAligned(reinterpret_cast<uintptr_t>(to))) {
    const uint64_t word = byte * uint64_t{0x0101'0101'0101'0101};
    for (; count >= kWord; count -= kWord, to += kWord) *reinterpret_cast<Word*>(to) = word;
  }
  for (; count > 0; --count) *to++ = byte;
  return destination;
}

[[clang::no_builtin]] int memcmp(const void* left, const void* right, size_t count) {
  const auto* a = static_cast<const unsigned char*>(left);
  const auto* b = static_cast<const unsigned char*>(right);
  for (size_t i = 0; i < count; ++i) {
    if (a[i] != b[i]) return a[i] - b[i];
  }
  return 0;
}

[[clang::no_builtin]] void* memchr(const void* block, int value, size_t count) {
  const auto* bytes = static_cast<const unsigned char*>(block);
  for (size_t i = 0; i < count; ++i) {
    if (bytes[i] == static_cast<unsigned char>(value)) return const_cast<unsigned char*>(bytes + i);
  }
  return nullptr;
}

[[clang::no_builtin]] size_t strlen(const char* text) {
  size_t length = 0;
  while (text[length] != '\0') ++length;
  return length;
}

[[clang::no_builtin]] size_t strnlen(const char* text, size_t max) {
  size_t length = 0;
  while (length < max && text[length] != '\0') ++length;
  return length;
}

[[clang::no_builtin]] int strcmp(const char* left, const char* right) {
  while (*left != '\0' && *left == *right) ++left, ++right;
  return static_cast<unsigned char>(*left) - static_cast<unsigned char>(*right);
}

[[clang::no_builtin]] int strncmp(const char* left, const char* right, size_t count) {
  for (; count > 0; --count, ++left, ++right) {
    if (*left != *right || *left == '\0') {
      return static_cast<unsigned char>(*left) - static_cast<unsigned char>(*right);
    }
  }
  return 0;
}

[[clang::no_builtin]] char* strchr(const char* text, int value) {
  for (;; ++text) {
    if (*text == static_cast<char>(value)) return const_cast<char*>(text);
    if (*text == '\0') return nullptr;
  }
}

[[clang::no_builtin]] char* strrchr(const char* text, int value) {
  const char* found = nullptr;
  for (;; ++text) {
    if (*text == static_cast<char>(value)) found = text;
    if (*text == '\0') return const_cast<char*>(found);
  }
}

}  // extern "C"
