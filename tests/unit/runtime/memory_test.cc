// The memory and string functions of the target, checked against loops over bytes. A freestanding program for
// user-mode emulation: it exits with the line of the first check that fails, modulo 255, plus 1.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

namespace {

constexpr size_t kBytes = 4096;
alignas(64) constinit unsigned char source[kBytes];
alignas(64) constinit unsigned char actual[kBytes];
alignas(64) constinit unsigned char expected[kBytes];

[[noreturn]] void ExitProcess(uint64_t status) {
  register uint64_t x0 asm("x0") = status;
  register uint64_t x8 asm("x8") = 93;  // Linux exit
  asm volatile("svc #0" ::"r"(x0), "r"(x8));
  __builtin_unreachable();
}

#define CHECK(condition) \
  if (!(condition)) ExitProcess(__LINE__ % 255 + 1)

// Kept from the optimiser, which would turn it into a call of the function under test.
unsigned char Read(const unsigned char* at) {
  return *const_cast<const volatile unsigned char*>(at);
}
void Write(unsigned char* at, unsigned char value) {
  *const_cast<volatile unsigned char*>(at) = value;
}

void Fill() {
  for (size_t i = 0; i < kBytes; ++i) {
    const auto byte = static_cast<unsigned char>(i * 7 + i / 256 + 1);
    Write(source + i, byte);
    Write(actual + i, static_cast<unsigned char>(~byte));
    Write(expected + i, static_cast<unsigned char>(~byte));
  }
}

bool Same() {
  for (size_t i = 0; i < kBytes; ++i) {
    if (Read(actual + i) != Read(expected + i)) return false;
  }
  return true;
}

// Every length up to `limit` in steps that meet all remainders, then a few long ones.
template <typename Check>
void ForLengths(Check check) {
  for (size_t length = 0; length < 200; ++length) check(length);
  for (const size_t length : {255, 256, 511, 512, 513, 575, 640, 1000, 2047, 3000}) check(length);
}

void TestCopy() {
  for (const size_t to : {0, 1, 7, 8, 63}) {
    for (const size_t from : {0, 3, 8, 17}) {
      ForLengths([&](size_t length) {
        Fill();
        CHECK(memcpy(actual + to, source + from, length) == actual + to);
        for (size_t i = 0; i < length; ++i) Write(expected + to + i, Read(source + from + i));
        CHECK(Same());
      });
    }
  }
}

void TestMove() {
  for (const size_t to : {0, 1, 16, 40, 65, 300}) {
    for (const size_t from : {0, 2, 16, 64, 290}) {
      ForLengths([&](size_t length) {
        Fill();
        CHECK(memmove(actual + to, actual + from, length) == actual + to);
        for (size_t i = 0; i < kBytes; ++i) Write(source + i, Read(expected + i));
        for (size_t i = 0; i < length; ++i) Write(expected + to + i, Read(source + from + i));
        CHECK(Same());
      });
    }
  }
}

void TestSet() {
  for (const size_t to : {0, 1, 15, 32, 63}) {
    for (const int value : {0, 0x5a, 0x1ff, -1}) {
      ForLengths([&](size_t length) {
        Fill();
        CHECK(memset(actual + to, value, length) == actual + to);
        for (size_t i = 0; i < length; ++i)
          Write(expected + to + i, static_cast<unsigned char>(value));
        CHECK(Same());
      });
    }
  }
}

void TestCompare() {
  ForLengths([](size_t length) {
    for (size_t i = 0; i < kBytes; ++i) {
      Write(actual + i, 0x80);
      Write(expected + i, 0x80);
    }
    Write(actual + length, 1);  // beyond: must not count
    CHECK(memcmp(actual, expected, length) == 0);
    for (size_t at = 0; at < length; at += 5) {
      Write(actual + at, 0x7f);
      CHECK(memcmp(actual, expected, length) < 0);
      CHECK(memcmp(expected, actual, length) > 0);
      if (at + 1 < length) {  // a later byte does not outweigh an earlier one
        Write(actual + at + 1, 0xff);
        CHECK(memcmp(actual, expected, length) < 0);
        Write(actual + at + 1, 0x80);
      }
      Write(actual + at, 0x80);
    }
  });
}

void TestStrings() {
  char text[] = "abcabc";
  CHECK(strlen("") == 0 && strlen(text) == 6);
  CHECK(strnlen(text, 3) == 3 && strnlen(text, 100) == 6);
  CHECK(strcmp("abc", "abc") == 0 && strcmp("abc", "abd") < 0 && strcmp("abc", "ab") > 0);
  CHECK(strcmp("\xff", "a") > 0);
  CHECK(strncmp("abcd", "abce", 3) == 0 && strncmp("abcd", "abce", 4) < 0 &&
        strncmp("a", "b", 0) == 0);
  CHECK(memchr(text, 'c', 6) == text + 2 && memchr(text, 'c', 2) == nullptr &&
        memchr(text, 0, 7) == text + 6);
  CHECK(strchr(text, 'b') == text + 1 && strchr(text, 'x') == nullptr &&
        strchr(text, 0) == text + 6);
  CHECK(strrchr(text, 'a') == text + 3 && strrchr(text, 'x') == nullptr &&
        strrchr(text, 0) == text + 6);
}

}  // namespace

extern "C" [[noreturn]] void _start() {
  TestCopy();
  TestMove();
  TestSet();
  TestCompare();
  TestStrings();
  ExitProcess(0);
}
