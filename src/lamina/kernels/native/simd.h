// A vector of floats as wide as the machine's registers, by the compiler's own
// vector types: one text for AVX-512, AVX2, SSE and NEON.
//
// All headers here are in a namespace without a name: libraries for several levels
// of instructions are loaded together, and must not find each other's functions.
#pragma once

#include <cstdint>
#include <cstring>

namespace lamina {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRegisters = 32;
#else
constexpr int kLanes = 4, kRegisters = 16;
#endif

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));
typedef uint32_t UnsignedVec __attribute__((vector_size(kLanes * sizeof(float))));

inline Vec Load(const float* from) {
  Vec v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

inline void Store(float* to, Vec v) { std::memcpy(to, &v, sizeof(v)); }

// The first `count` numbers, then zeros.
inline Vec Load(const float* from, int64_t count) {
  if (count >= kLanes) return Load(from);
  Vec v{};
  std::memcpy(&v, from, count * sizeof(float));
  return v;
}

inline void Store(float* to, Vec v, int64_t count) {
  if (count >= kLanes) {
    Store(to, v);
  } else {
    std::memcpy(to, &v, count * sizeof(float));
  }
}

inline Vec All(float value) { return Vec{} + value; }

inline int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

inline int64_t DivideUp(int64_t n, int64_t by) { return (n + by - 1) / by; }

}  // namespace
}  // namespace lamina
