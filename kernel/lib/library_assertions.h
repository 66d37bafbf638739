// Included before everything else in the kernel (see kernel/meson.build). The C++ library's checks
// (_GLIBCXX_ASSERTIONS) end in a BRK instruction instead of a call with four strings: the panic
// report's address says which check it was, and the kernel's text is a tenth smaller.
#ifndef ATOLL_KERNEL_LIB_LIBRARY_ASSERTIONS_H_
#define ATOLL_KERNEL_LIB_LIBRARY_ASSERTIONS_H_

#include <bits/c++config.h>

#ifndef __glibcxx_assert_impl
#error "this C++ library has its checks under another name"
#endif
#undef __glibcxx_assert_impl
#define __glibcxx_assert_impl(condition)           \
  if (__builtin_expect(!bool(condition), false)) { \
    __glibcxx_constexpr_assert(false);             \
    __builtin_trap();                              \
  }

#endif  // ATOLL_KERNEL_LIB_LIBRARY_ASSERTIONS_H_
