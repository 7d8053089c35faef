// Sums over the rows of f32 tables, one for each column: what batch normalization
// needs of its inputs, and of their gradients. Each reads its arrays once.

#include <algorithm>
#include <cmath>

#include "simd.h"
#include "threads.h"

namespace lamina {
namespace {

using Array = ffi::Buffer<ffi::F32>;

template <typename V>
void Write(float* to, V v) {
  std::memcpy(to, &v, sizeof(v));
}

// Rows are cut into blocks that stay in the cache; where, depends on the shape
// alone, so that the bits do not depend on the machine's threads.
struct Blocks {
  int64_t rows, columns, block, count;

  explicit Blocks(const Array& x) {
    columns = x.dimensions().back();
    rows = x.element_count() / columns;
    block = std::max({(int64_t{1} << 14) / columns, DivideUp(rows, 256), int64_t{1}});
    count = DivideUp(rows, block);
  }
};

// Calls task.At<V>(first column) for vectors that cover the columns; the last one
// overlaps the one before instead of being half empty.
template <typename Task>
struct Columns {
  int64_t columns;
  const Task& task;

  Columns(int64_t columns, const Task& task) : columns(columns), task(task) {
    WithLanes(columns, *this);
  }

  template <typename V>
  void Do() const {
    for (int64_t c = 0; c < columns; c += Lanes<V>()) {
      task.template At<V>(std::min(c, columns - Lanes<V>()));
    }
  }
};

// Adds up value(row) over rows, in four independent sums.
template <typename V, typename Value>
V Total(int64_t rows, const Value& value) {
  V sum[4] = {};
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sum[i] += value(r + i);
  }
  for (; r < rows; ++r) sum[0] += value(r);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Mean, and sum of squares around it, of one block. Means are counted from a value
// near by, so that large ones leave their digits to the differences.
struct BlockMoments {
  const float *x, *near;
  int64_t rows, columns;
  float *mean, *squares;

  template <typename V>
  void At(int64_t c) const {
    V start = LoadAs<V>(near + c);
    auto moved = [&](int64_t r) { return LoadAs<V>(x + r * columns + c) - start; };
    V m = Total<V>(rows, moved) / static_cast<float>(rows);
    V s = Total<V>(rows, [&](int64_t r) {
      V away = moved(r) - m;
      return away * away;
    });
    Write(mean + c, m);
    Write(squares + c, s);
  }
};

// The same of all blocks.
struct AllMoments {
  Blocks b;
  const float *near, *means, *squares;
  float *mean, *variance;

  template <typename V>
  void At(int64_t c) const {
    auto weight = [&](int64_t i) {
      return static_cast<float>(std::min(b.block, b.rows - i * b.block)) / b.rows;
    };
    V shift = Total<V>(b.count, [&](int64_t i) {
      return LoadAs<V>(means + i * b.columns + c) * weight(i);
    });
    V v = Total<V>(b.count, [&](int64_t i) {
      V away = LoadAs<V>(means + i * b.columns + c) - shift;
      return away * away * weight(i) +
             LoadAs<V>(squares + i * b.columns + c) / static_cast<float>(b.rows);
    });
    Write(mean + c, LoadAs<V>(near + c) + shift);
    Write(variance + c, v);
  }
};

ffi::Error Moments(ffi::ThreadPool pool, Array x, ffi::Result<Array> mean,
                   ffi::Result<Array> variance) {
  Blocks b(x);
  float* means = Scratch(0, b.count * b.columns);
  float* squares = Scratch(1, b.count * b.columns);
  float* near = Scratch(2, b.columns);
  for (int64_t c = 0; c < b.columns; ++c) {
    near[c] = std::isfinite(x.typed_data()[c]) ? x.typed_data()[c] : 0.f;
  }
  Parallel(pool, b.count, 2 * b.rows * b.columns, [&](int64_t i) {
    int64_t first = i * b.block, rows = std::min(b.block, b.rows - first);
    Columns(b.columns, BlockMoments{x.typed_data() + first * b.columns, near, rows,
                                    b.columns, means + i * b.columns, squares + i * b.columns});
  });
  Columns(b.columns,
          AllMoments{b, near, means, squares, mean->typed_data(), variance->typed_data()});
  return ffi::Error::Success();
}

// Sums of y, and of y * (x - mean), of one block.
struct BlockSums {
  const float *y, *x, *mean;
  int64_t rows, columns;
  float *plain, *product;

  template <typename V>
  void At(int64_t c) const {
    V m = LoadAs<V>(mean + c), sum[2] = {}, with[2] = {};
    for (int64_t r = 0; r < rows; ++r) {
      V value = LoadAs<V>(y + r * columns + c);
      sum[r % 2] += value;
      with[r % 2] += value * (LoadAs<V>(x + r * columns + c) - m);
    }
    Write(plain + c, sum[0] + sum[1]);
    Write(product + c, with[0] + with[1]);
  }
};

struct AllSums {
  int64_t count, columns;
  const float* from;
  float* to;

  template <typename V>
  void At(int64_t c) const {
    Write(to + c, Total<V>(count, [&](int64_t i) {
            return LoadAs<V>(from + i * columns + c);
          }));
  }
};

ffi::Error Sums(ffi::ThreadPool pool, Array y, Array x, Array mean,
                ffi::Result<Array> plain, ffi::Result<Array> product) {
  Blocks b(x);
  float* sums = Scratch(0, b.count * b.columns);
  float* products = Scratch(1, b.count * b.columns);
  Parallel(pool, b.count, 2 * b.rows * b.columns, [&](int64_t i) {
    int64_t first = i * b.block, rows = std::min(b.block, b.rows - first);
    Columns(b.columns,
            BlockSums{y.typed_data() + first * b.columns, x.typed_data() + first * b.columns,
                      mean.typed_data(), rows, b.columns, sums + i * b.columns,
                      products + i * b.columns});
  });
  Columns(b.columns, AllSums{b.count, b.columns, sums, plain->typed_data()});
  Columns(b.columns, AllSums{b.count, b.columns, products, product->typed_data()});
  return ffi::Error::Success();
}

}  // namespace
}  // namespace lamina

XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_moments, lamina::Moments,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<lamina::Array>()
                                  .Ret<lamina::Array>()
                                  .Ret<lamina::Array>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_sums, lamina::Sums,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<lamina::Array>()
                                  .Arg<lamina::Array>()
                                  .Arg<lamina::Array>()
                                  .Ret<lamina::Array>()
                                  .Ret<lamina::Array>());
