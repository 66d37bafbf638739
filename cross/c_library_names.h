// Included before everything else (see meson.build). The C library has a function atoll(3), which nobody here calls;
// standard headers from <algorithm> to <string> declare it and import it into std, and a function may not share its
// name with namespace atoll. So it is declared under another name, and <cstdlib> is read without its C99 part, the
// rest of which follows below.
#ifndef ATOLL_C_LIBRARY_NAMES_H_
#define ATOLL_C_LIBRARY_NAMES_H_
#if defined(__cplusplus) && defined(__has_include)
#if __has_include(<bits/c++config.h>) && __has_include(<stdlib.h>)
#include <bits/c++config.h>

#define atoll c_library_atoll
#define _GLIBCXX_INCLUDE_NEXT_C_HEADERS  // the C header itself, not libstdc++'s of that name
#include <stdlib.h>
#undef _GLIBCXX_INCLUDE_NEXT_C_HEADERS
#undef atoll

#pragma push_macro("_GLIBCXX_USE_C99_STDLIB")
#undef _GLIBCXX_USE_C99_STDLIB
#define _GLIBCXX_USE_C99_STDLIB 0
#include <cstdlib>
#pragma pop_macro("_GLIBCXX_USE_C99_STDLIB")

namespace std {
using ::_Exit;
using ::llabs;
using ::lldiv;
using ::lldiv_t;
using ::strtof;
using ::strtold;
using ::strtoll;
using ::strtoull;
inline lldiv_t div(long long numerator, long long denominator) {
  return {.quot = numerator / denominator, .rem = numerator % denominator};
}
}  // namespace std
#endif
#endif
#endif
