// Functions of the rows of f32 tables: what layer normalization and softmax need. Each
// reads a row from memory once; XLA has a loop for each mean, maximum, sum and result.

#include <algorithm>
#include <cmath>
#include <limits>

#include "exponential.h"
#include "simd.h"
#include "threads.h"

namespace lamina {
namespace {

using Array = ffi::Buffer<ffi::F32>;

// Calls task(row) for all rows; `work` is what a number takes, in products.
template <typename Task>
void Rows(ffi::ThreadPool& pool, const Array& x, int64_t work, const Task& task) {
  const int64_t columns = x.dimensions().back(), rows = x.element_count() / columns;
  const int64_t block = std::max<int64_t>(1, (1 << 13) / columns);
  Parallel(pool, DivideUp(rows, block), work * rows * columns, [&](int64_t i) {
    const int64_t end = std::min(rows, (i + 1) * block);
    for (int64_t row = i * block; row < end; ++row) task(row);
  });
}

// The first `count` numbers, then `rest`.
inline Vec Load(const float* from, int64_t count, float rest) {
  if (count >= kLanes) return Load(from);
  Vec v = All(rest);
  std::memcpy(&v, from, count * sizeof(float));
  return v;
}

// Calls task(place, how many numbers a vector has there, which of four sums it is for).
template <typename Task>
void Vectors(int64_t columns, const Task& task) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= columns; c += 4 * kLanes) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) task(c + i * kLanes, int64_t{kLanes}, i);
  }
  for (int i = 0; c < columns; c += kLanes, ++i) {
    task(c, std::min<int64_t>(kLanes, columns - c), i);
  }
}

// One number of four vectors. Lanes are swapped at ever shorter distances: the compiler
// makes a shuffle of each loop, and nothing goes through memory.
template <typename Join>
float Folded(const Vec (&parts)[4], const Join& join) {
  Vec all = join(join(parts[0], parts[1]), join(parts[2], parts[3]));
#pragma GCC unroll 8
  for (int half = kLanes / 2; half > 0; half /= 2) {
    Vec other;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) other[i] = all[i ^ half];
    all = join(all, other);
  }
  return all[0];
}

inline float Sum(const Vec (&parts)[4]) {
  return Folded(parts, [](Vec a, Vec b) { return a + b; });
}

ffi::Error Standardize(ffi::ThreadPool pool, Array x, float epsilon, int64_t center,
                       ffi::Result<Array> y, ffi::Result<Array> scales) {
  if (!x.element_count()) return ffi::Error::Success();
  const int64_t columns = x.dimensions().back();
  Rows(pool, x, 4, [&](int64_t row) {
    const float* from = x.typed_data() + row * columns;
    float* to = y->typed_data() + row * columns;
    float mean = 0;
    if (center) {
      Vec total[4] = {};
      Vectors(columns, [&](int64_t c, int64_t count, int i) {
        total[i] += Load(from + c, count);
      });
      mean = Sum(total) / columns;
    }
    Vec squares[4] = {};
    Vectors(columns, [&](int64_t c, int64_t count, int i) {
      const Vec away = Load(from + c, count, mean) - mean;
      squares[i] += away * away;
    });
    const float scale = 1 / std::sqrt(Sum(squares) / columns + epsilon);
    Vectors(columns, [&](int64_t c, int64_t count, int) {
      Store(to + c, (Load(from + c, count) - mean) * scale, count);
    });
    scales->typed_data()[row] = scale;
  });
  return ffi::Error::Success();
}

ffi::Error Softmax(ffi::ThreadPool pool, Array x, ffi::Result<Array> y) {
  if (!x.element_count()) return ffi::Error::Success();
  const int64_t columns = x.dimensions().back();
  constexpr float kLeast = -std::numeric_limits<float>::infinity();
  Rows(pool, x, 12, [&](int64_t row) {
    const float* from = x.typed_data() + row * columns;
    float* to = y->typed_data() + row * columns;
    Vec most[4] = {All(kLeast), All(kLeast), All(kLeast), All(kLeast)};
    Vectors(columns, [&](int64_t c, int64_t count, int i) {
      const Vec v = Load(from + c, count, kLeast);
      most[i] = v > most[i] ? v : most[i];  // NaN is found below
    });
    const float top = Folded(most, [](Vec a, Vec b) { return b > a ? b : a; });
    Vec total[4] = {};
    Vectors(columns, [&](int64_t c, int64_t count, int i) {
      const Vec v = Load(from + c, count, kLeast) - top;
      const Exponential e(Clamp(v, -87, 1));
      // Exactly 0 for what a mask puts far away, and for the places after the last.
      const Vec value = v < -87 ? Vec{} : (e.part + 1) * e.scale;
      total[i] += value;
      Store(to + c, value, count);
    });
    const float part = 1 / Sum(total);
    Vectors(columns, [&](int64_t c, int64_t count, int) {
      Store(to + c, Load(to + c, count) * part, count);
    });
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace lamina

XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_standardize, lamina::Standardize,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<lamina::Array>()
                                  .Attr<float>("epsilon")
                                  .Attr<int64_t>("center")
                                  .Ret<lamina::Array>()
                                  .Ret<lamina::Array>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_softmax, lamina::Softmax,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<lamina::Array>()
                                  .Ret<lamina::Array>());
