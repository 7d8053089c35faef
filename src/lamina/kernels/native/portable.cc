// A library that is built on a new Linux asks for symbols that older ones lack, though
// it needs nothing new. They are defined here, and threads.h names the older form of
// another one; the library then loads where glibc 2.24 and GCC 6 are, or newer.

#include <sstream>

#if defined(__GLIBC__) && defined(__GLIBCXX__)

template std::stringstream::basic_stringstream();

namespace std {
[[noreturn]] void __throw_bad_array_new_length() { __throw_bad_alloc(); }
}  // namespace std
__asm__(".hidden _ZSt28__throw_bad_array_new_lengthv");

// Whether counters of references may do without atomic operations: never.
extern "C" __attribute__((visibility("hidden"))) char __libc_single_threaded;
char __libc_single_threaded = 0;

#endif
