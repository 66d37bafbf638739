// The C library functions that compilers, nanopb and libfdt call, besides those of memory.S.
#include <cstddef>

extern "C" {

size_t strlen(const char* text) {
  size_t length = 0;
  while (text[length] != '\0') ++length;
  return length;
}

size_t strnlen(const char* text, size_t limit) {
  size_t length = 0;
  while (length < limit && text[length] != '\0') ++length;
  return length;
}

int strncmp(const char* a, const char* b, size_t limit) {
  for (size_t i = 0; i < limit; ++i) {
    const int difference = static_cast<unsigned char>(a[i]) - static_cast<unsigned char>(b[i]);
    if (difference != 0 || a[i] == '\0') return difference;
  }
  return 0;
}

int strcmp(const char* a, const char* b) { return strncmp(a, b, ~size_t{0}); }

void* memchr(const void* bytes, int value, size_t size) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  for (size_t i = 0; i < size; ++i) {
    if (at[i] == static_cast<unsigned char>(value)) return const_cast<unsigned char*>(at + i);
  }
  return nullptr;
}

char* strchr(const char* text, int value) {
  return static_cast<char*>(memchr(text, value, strlen(text) + 1));
}

char* strrchr(const char* text, int value) {
  for (size_t i = strlen(text) + 1; i > 0; --i) {
    if (text[i - 1] == static_cast<char>(value)) return const_cast<char*>(text + i - 1);
  }
  return nullptr;
}

}  // extern "C"
