// Convolutions of f32 images with the channels last, and their two gradients.
//
// The value and the gradient of the image are the same work: every result pixel
// is a sum, over the cells of a window, of one pixel of a source times a matrix.
// A tile of pixels times a few vectors of channels is kept in registers while the
// sum runs over cells and channels. Borders are zeros written around a copy of
// the rows in use.

#include <algorithm>
#include <utility>

#include "images.h"
#include "simd.h"
#include "threads.h"
#include "tile.h"

namespace lamina {
namespace {

// A sum over cells for all pixels: see the head of this file.
struct Gather {
  const float* source;
  int64_t batch, source_rows, source_cols, channels;
  const float* matrices;  // each channels x padded
  int64_t padded;         // outputs, rounded up to whole vectors
  float* result;
  int64_t result_rows, result_cols, outputs;
  int64_t pixel_step[2];   // between source pixels of neighbouring results
  int64_t result_step[2];  // between neighbouring results of a phase
  std::vector<Phase> phases;
  const float* bias = nullptr;  // of the outputs: added, then negatives become zero
};

// Adds `bias` to some pixels, and makes zeros of negative numbers, not of NaN.
void Rectify(float* pixel, int64_t step, int64_t count, const float* bias,
             int64_t outputs) {
  for (int64_t p = 0; p < count; ++p, pixel += step) {
    for (int64_t k = 0; k < outputs; k += kLanes) {
      Vec sum = Load(pixel + k, outputs - k) + Load(bias + k, outputs - k);
      Store(pixel + k, sum <= 0.f ? Vec{} : sum, outputs - k);
    }
  }
}

// A part of a matrix that stays in the second-level cache.
constexpr int64_t kPanel = 1 << 16;

void Rows(const Gather& g, const Phase& phase, int64_t image, int64_t begin,
          int64_t end) {
  const int64_t *low = phase.low, *high = phase.high;
  int64_t top = begin * g.pixel_step[0] + low[0];
  int64_t bottom = (end - 1) * g.pixel_step[0] + high[0] + 1;
  int64_t left = low[1], right = (phase.cols - 1) * g.pixel_step[1] + high[1] + 1;
  const float* source = g.source + image * g.source_rows * g.source_cols * g.channels;
  int64_t width = g.source_cols * g.channels;
  if (top < 0 || left < 0 || bottom > g.source_rows || right > g.source_cols) {
    width = (right - left) * g.channels;
    float* copy = Scratch(0, (bottom - top) * width);
    int64_t from = std::clamp<int64_t>(left, 0, g.source_cols);
    int64_t to = std::clamp<int64_t>(right, from, g.source_cols);
    for (int64_t r = top; r < bottom; ++r) {
      float* line = copy + (r - top) * width;
      if (r < 0 || r >= g.source_rows || from == to) {
        std::fill_n(line, width, 0.f);
        continue;
      }
      float* inside = line + (from - left) * g.channels;
      float* after = std::copy_n(source + (r * g.source_cols + from) * g.channels,
                                 (to - from) * g.channels, inside);
      std::fill(line, inside, 0.f);
      std::fill(after, line + width, 0.f);
    }
    source = copy;
  } else {
    source += top * width + left * g.channels;
  }
  std::vector<Offset> cells;
  for (const Cell& cell : phase.cells) {
    cells.push_back({(cell.row - low[0]) * width + (cell.col - low[1]) * g.channels,
                     cell.index * g.channels * g.padded});
  }
  int64_t count = cells.size(), pixel_step = g.pixel_step[1] * g.channels;
  int64_t out_step = g.result_step[1] * g.outputs;
  for (int64_t k = 0; k < g.outputs;) {
    int vectors = Vectors(g.padded - k);
    int64_t most = MostPixels(vectors);
    int64_t tile = DivideUp(phase.cols, DivideUp(phase.cols, most));
    int64_t some = std::max<int64_t>(
        1, kPanel / (std::max<int64_t>(count, 1) * vectors * kLanes));
    for (int64_t c = 0; c < g.channels; c += some) {
      for (int64_t r = begin; r < end; ++r) {
        const float* row = source + (r - begin) * g.pixel_step[0] * width + c;
        float* out =
            g.result +
            ((image * g.result_rows + phase.first_row + r * g.result_step[0]) *
                 g.result_cols +
             phase.first_col) *
                g.outputs +
            k;
        for (int64_t p = 0; p < phase.cols; p += tile) {
          Choose(std::min(tile, phase.cols - p), vectors)(
              row + p * pixel_step, pixel_step, cells.data(), count,
              std::min(some, g.channels - c), g.matrices + c * g.padded + k, g.padded,
              c > 0, out + p * out_step, out_step, g.outputs - k);
        }
        bool whole = k + vectors * kLanes >= g.padded && c + some >= g.channels;
        if (whole && g.bias) Rectify(out - k, out_step, phase.cols, g.bias, g.outputs);
      }
    }
    k += vectors * kLanes;
  }
}

void Run(ffi::ThreadPool& pool, const Gather& g) {
  // A few large images are split into rows as well.
  int64_t parts = DivideUp(4 * pool.num_threads(), g.batch);
  int64_t work = 0;
  for (const Phase& phase : g.phases) {
    work += phase.rows * phase.cols * phase.cells.size();
  }
  work *= g.batch * g.channels * g.padded;
  Parallel(pool, g.batch * parts, work, [&](int64_t task) {
    int64_t image = task / parts, part = task % parts;
    for (const Phase& phase : g.phases) {
      int64_t begin = phase.rows * part / parts, end = phase.rows * (part + 1) / parts;
      if (begin < end && phase.cols > 0) Rows(g, phase, image, begin, end);
    }
  });
}

// The matrices with their rows filled up to whole vectors, or as they are.
const float* Padded(const float* matrices, int64_t rows, int64_t outputs,
                    int64_t padded) {
  if (outputs == padded) return matrices;
  float* copy = Scratch(1, rows * padded);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(matrices + r * outputs, outputs, copy + r * padded);
    std::fill_n(copy + r * padded + outputs, padded - outputs, 0.f);
  }
  return copy;
}

void Convolve(ffi::ThreadPool& pool, const Image& image, const Image& kernel,
              const float* bias, Image& result, Ints strides, Ints before,
              Ints dilation) {
  Geometry d = Describe(image, kernel, result, strides, before, dilation);
  int64_t padded = RoundUp(d.outputs, kLanes);
  Run(pool, {image.typed_data(), d.batch, d.height, d.width, d.channels,
             Padded(kernel.typed_data(), d.cells() * d.channels, d.outputs, padded), padded,
             result.typed_data(), d.rows, d.cols, d.outputs,
             {d.stride[0], d.stride[1]}, {1, 1}, ResultPhases(d), bias});
}

void Spread(ffi::ThreadPool& pool, const Image& gradient, const Image& kernel,
            const float* bias, Image& result, Ints strides, Ints before,
            Ints dilation) {
  Geometry d = Describe(result, kernel, gradient, strides, before, dilation);
  int64_t padded = RoundUp(d.channels, kLanes), cells = d.cells();
  float* turned = Scratch(1, cells * d.outputs * padded);
  const float* given = kernel.typed_data();
  Parallel(pool, cells, cells * d.channels * d.outputs, [&](int64_t i) {
    const float* from = given + i * d.channels * d.outputs;
    float* to = turned + i * d.outputs * padded;
    for (int64_t k = 0; k < d.outputs; ++k) {
      for (int64_t c = 0; c < d.channels; ++c) to[k * padded + c] = from[c * d.outputs + k];
      std::fill_n(to + k * padded + d.channels, padded - d.channels, 0.f);
    }
  });
  Run(pool, {gradient.typed_data(), d.batch, d.rows, d.cols, d.outputs, turned, padded,
             result.typed_data(), d.height, d.width, d.channels, {1, 1},
             {d.stride[0], d.stride[1]}, ImagePhases(d), bias});
}

using Linear = void(ffi::ThreadPool&, const Image&, const Image&, const float*, Image&,
                      Ints, Ints, Ints);

template <Linear* kRun>
ffi::Error Alone(ffi::ThreadPool pool, Image a, Image kernel, ffi::Result<Image> result,
                 Ints strides, Ints before, Ints dilation) {
  kRun(pool, a, kernel, nullptr, *result, strides, before, dilation);
  return ffi::Error::Success();
}

template <Linear* kRun>
ffi::Error Rectified(ffi::ThreadPool pool, Image a, Image kernel, Image bias,
                     ffi::Result<Image> result, Ints strides, Ints before,
                     Ints dilation) {
  kRun(pool, a, kernel, bias.typed_data(), *result, strides, before, dilation);
  return ffi::Error::Success();
}

auto RectifiedSignature() { return Windowed(TwoImages().Arg<Image>()); }

// sum[c][v] += image pixel's channel c * gradient pixel's vector v, over a region.
template <int kChannels, int kVectors>
void Product(const float* image, int64_t image_row, int64_t image_step,
             const float* gradient, int64_t gradient_row, int64_t gradient_step,
             int64_t rows, int64_t cols, float* sums, int64_t padded) {
  Vec sum[kChannels][kVectors];
#pragma GCC unroll 32
  for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[c][v] = Load(sums + c * padded + v * kLanes);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const float* a = image + r * image_row;
    const float* b = gradient + r * gradient_row;
    for (int64_t p = 0; p < cols; ++p, a += image_step, b += gradient_step) {
      Vec row[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) row[v] = Load(b + v * kLanes);
#pragma GCC unroll 32
      for (int c = 0; c < kChannels; ++c) {
        Vec value = All(a[c]);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sum[c][v] += value * row[v];
      }
    }
  }
#pragma GCC unroll 32
  for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) Store(sums + c * padded + v * kLanes, sum[c][v]);
  }
}

using ProductFunction = decltype(&Product<1, 1>);

template <int kVectors, int... kChannels>
ProductFunction Multiply(int64_t channels, std::integer_sequence<int, kChannels...>) {
  static constexpr ProductFunction functions[] = {&Product<kChannels + 1, kVectors>...};
  return functions[channels - 1];
}

template <int kVectors>
ProductFunction Multiply(int64_t channels) {
  return Multiply<kVectors>(channels,
                            std::make_integer_sequence<int, MostPixels(kVectors)>());
}

ProductFunction Multiply(int64_t channels, int vectors) {
  if (vectors == 4) return Multiply<4>(channels);
  if (vectors == 2) return Multiply<2>(channels);
  return Multiply<1>(channels);
}

// Results whose source pixel lies inside of the image, along one dimension.
std::pair<int64_t, int64_t> Inside(const Geometry& d, int axis, int64_t cell,
                                   int64_t size, int64_t results) {
  int64_t offset = cell * d.dilation[axis] - d.before[axis], stride = d.stride[axis];
  int64_t begin = offset < 0 ? DivideUp(-offset, stride) : 0;
  int64_t end = size > offset ? std::min(results, (size - 1 - offset) / stride + 1) : 0;
  return {begin, std::max(begin, end)};
}

ffi::Error KernelGradient(ffi::ThreadPool pool, Image image, Image gradient,
                          ffi::Result<Image> result, Ints strides, Ints before,
                          Ints dilation) {
  Geometry d = Describe(image, *result, gradient, strides, before, dilation);
  int64_t padded = RoundUp(d.outputs, kLanes), cells = d.cells();
  int64_t size = cells * d.channels * padded, whole = d.channels * padded;
  // Each part of the batch has a sum of its own; how many depends on shapes alone,
  // so that the bits do not depend on the machine's threads. A large kernel has
  // one sum, and its cells are computed side by side.
  int64_t parts = size > (1 << 18) ? 1 : std::min<int64_t>(d.batch, 8);
  int64_t splits = parts > 1 ? 1 : cells;
  bool direct = parts == 1 && padded == d.outputs;
  float* sums = direct ? result->typed_data() : Scratch(1, parts * size);
  int64_t work = d.batch * d.rows * d.cols * size;
  Parallel(pool, parts * splits, work, [&](int64_t task) {
    int64_t part = task / splits, split = task % splits;
    int64_t first = cells * split / splits, last = cells * (split + 1) / splits;
    float* sum = sums + part * size;
    std::fill(sum + first * whole, sum + last * whole, 0.f);
    int64_t pixels = d.rows * d.cols;
    for (int64_t n = d.batch * part / parts; n < d.batch * (part + 1) / parts; ++n) {
      const float* x = image.typed_data() + n * d.height * d.width * d.channels;
      const float* y = gradient.typed_data() + n * pixels * d.outputs;
      if (padded != d.outputs) {
        float* copy = Scratch(2, pixels * padded);
        for (int64_t p = 0; p < pixels; ++p) {
          std::copy_n(y + p * d.outputs, d.outputs, copy + p * padded);
          std::fill_n(copy + p * padded + d.outputs, padded - d.outputs, 0.f);
        }
        y = copy;
      }
      for (int64_t i = first; i < last; ++i) {
        int64_t row = i / d.window[1], col = i % d.window[1];
        auto [top, bottom] = Inside(d, 0, row, d.height, d.rows);
        auto [left, right] = Inside(d, 1, col, d.width, d.cols);
        if (top == bottom || left == right) continue;
        int64_t line = top * d.stride[0] + row * d.dilation[0] - d.before[0];
        int64_t place = left * d.stride[1] + col * d.dilation[1] - d.before[1];
        const float* from = x + (line * d.width + place) * d.channels;
        const float* with = y + (top * d.cols + left) * padded;
        for (int64_t k = 0; k < padded;) {
          int vectors = Vectors(padded - k);
          int64_t most = MostPixels(vectors);
          int64_t block = DivideUp(d.channels, DivideUp(d.channels, most));
          for (int64_t c = 0; c < d.channels; c += block) {
            Multiply(std::min(block, d.channels - c), vectors)(
                from + c, d.stride[0] * d.width * d.channels, d.stride[1] * d.channels,
                with + k, d.cols * padded, padded, bottom - top, right - left,
                sum + i * whole + c * padded + k, padded);
          }
          k += vectors * kLanes;
        }
      }
    }
  });
  if (direct) return ffi::Error::Success();
  float* out = result->typed_data();
  int64_t lines = cells * d.channels, share = DivideUp(lines, 8);
  Parallel(pool, DivideUp(lines, share), parts * size, [&](int64_t task) {
    for (int64_t r = task * share; r < std::min(lines, (task + 1) * share); ++r) {
      for (int64_t k = 0; k < padded; k += kLanes) {
        Vec total = Load(sums + r * padded + k);
        for (int64_t part = 1; part < parts; ++part) {
          total += Load(sums + part * size + r * padded + k);
        }
        Store(out + r * d.outputs + k, total, d.outputs - k);
      }
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace lamina

XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_conv, lamina::Alone<lamina::Convolve>,
                              lamina::ConvolutionSignature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_conv_rectified, lamina::Rectified<lamina::Convolve>,
                              lamina::RectifiedSignature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_conv_image, lamina::Alone<lamina::Spread>,
                              lamina::ConvolutionSignature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_conv_image_rectified,
                              lamina::Rectified<lamina::Spread>,
                              lamina::RectifiedSignature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_conv_kernel, lamina::KernelGradient,
                              lamina::ConvolutionSignature());
