// A vector of floats as wide as the machine's registers, by the compiler's own
// vector types: one text for AVX-512, AVX2, SSE and NEON.
//
// All headers here are in an anonymous namespace: libraries for several levels
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

// Shorter ones, for rows that do not fill a whole one.
typedef float Vec8 __attribute__((vector_size(8 * sizeof(float))));
typedef float Vec4 __attribute__((vector_size(4 * sizeof(float))));

template <typename V>
constexpr int64_t Lanes() {
  return sizeof(V) / sizeof(float);
}

template <typename V>
V LoadAs(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

// Calls task.Do<V>() with the widest vector that a row fills.
template <typename Task>
void WithLanes(int64_t columns, const Task& task) {
  if (columns >= kLanes) return task.template Do<Vec>();
  if (columns >= 8 && kLanes > 8) return task.template Do<Vec8>();
  if (columns >= 4 && kLanes > 4) return task.template Do<Vec4>();
  task.template Do<float>();
}

inline Vec Load(const float* from) { return LoadAs<Vec>(from); }

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

// A difference, which leaves every value as it is; a sum would be computed, for -0.
inline Vec All(float value) { return value - Vec{}; }

inline int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

inline int64_t DivideUp(int64_t n, int64_t by) { return (n + by - 1) / by; }

}  // namespace
}  // namespace lamina
