// What compiled C++ refers to and a hosted library would define. There is no heap and nothing is thrown: each
// of these ends the task.
#include <cstddef>
#include <new>

#include "services/runtime/log.h"

extern "C" {

void abort() { atoll::Panic("abort"); }
[[noreturn]] void __cxa_pure_virtual() { atoll::Panic("pure virtual function called"); }

}  // extern "C"

namespace std {

void __glibcxx_assert_fail(const char* file, int line, const char* /*function*/,
                           const char* condition) noexcept {
  atoll::Panic(file, ":", line, ": ", condition != nullptr ? condition : "unreachable");
}
void __throw_logic_error(const char* what) { atoll::Panic(what); }
void __throw_length_error(const char* what) { atoll::Panic(what); }
void __throw_out_of_range(const char* what) { atoll::Panic(what); }
void __throw_out_of_range_fmt(const char* what, ...) { atoll::Panic(what); }
void __throw_bad_alloc() { atoll::Panic("there is no heap"); }
void __throw_bad_array_new_length() { atoll::Panic("there is no heap"); }
void __throw_bad_optional_access() { atoll::Panic("empty optional"); }
void __throw_bad_variant_access(const char* what) { atoll::Panic(what); }

}  // namespace std

// absl::InlinedVector names these; a vector that outgrows its inline part ends here.
void* operator new(size_t) { atoll::Panic("there is no heap"); }
void operator delete(void*) noexcept {}
void operator delete(void*, size_t) noexcept {}
