// Depthwise convolutions of f32 images with the channels last, and their two
// gradients: each channel is convolved with a window of its own.
//
// Vectors run along the channels. A pixel outside of the image is read from a row
// of zeros, so no copy of the image is made; pixels whose window lies inside of the
// image's columns form runs, in which all sources move on by the same step. The last
// vector of a pixel overlaps the one before instead of being half empty, and pixels
// with fewer channels than a vector has lanes take shorter vectors.

#include <algorithm>
#include <utility>

#include "images.h"
#include "simd.h"
#include "threads.h"

namespace lamina {
namespace {

struct Images {
  const float* data;
  int64_t batch, rows, cols, channels;
};

// Neighbouring pixels of one row of a phase.
struct Run {
  int64_t row, col, count;
};

// What pixels outside of an image hold: as much as a row, for any thread to read.
const float* Zeros(const Images& source) {
  int64_t count = source.cols * source.channels;
  float* zeros = Scratch(0, count);
  std::fill_n(zeros, count, 0.f);
  return zeros;
}

// Splits a row of a phase into runs, and appends where each of their cells starts:
// null outside of the image where there are no zeros.
void Split(const Phase& phase, const Images& source, int64_t image, int64_t row,
           Ints step, const float* zeros, std::vector<Run>& runs,
           std::vector<const float*>& starts) {
  int64_t begin = std::min(DivideUp(-phase.low[1], step[1]), phase.cols);
  int64_t room = source.cols - 1 - phase.high[1];
  int64_t end = room < 0 ? begin : std::clamp(room / step[1] + 1, begin, phase.cols);
  const float* pixels =
      source.data + image * source.rows * source.cols * source.channels;
  for (int64_t col = 0, count; col < phase.cols; col += count) {
    count = col == begin && end > begin ? end - begin : 1;
    runs.push_back({row, col, count});
    for (const Cell& cell : phase.cells) {
      int64_t line = row * step[0] + cell.row, place = col * step[1] + cell.col;
      bool seen = place >= 0 && place < source.cols;
      bool inside = seen && line >= 0 && line < source.rows;
      const float* start = inside ? pixels + line * source.cols * source.channels : zeros;
      starts.push_back(start && seen ? start + place * source.channels : start);
    }
  }
}

// Where vector `i` of a pixel starts.
inline int64_t Start(int64_t i, int64_t lanes, int64_t channels) {
  return std::min(i * lanes, channels - lanes);
}

// How many pixels are summed up at once, and how many vectors of each.
constexpr int kPixels = 4, kVectors = kRegisters / 8;

template <typename V, int kCount, int kSome>
void Tile(const float* const* starts, int64_t from, int64_t step, const float* weights,
          const int64_t* cells, int64_t count, float* out, int64_t out_step) {
  V sum[kCount][kSome] = {};
  for (int64_t i = 0; i < count; ++i) {
    if (starts[i] == nullptr) continue;
    const float* source = starts[i] + from;
    const float* weight = weights + cells[i];
#pragma GCC unroll 8
    for (int v = 0; v < kSome; ++v) {
      V factor = LoadAs<V>(weight + v * Lanes<V>());
#pragma GCC unroll 8
      for (int p = 0; p < kCount; ++p) {
        sum[p][v] += factor * LoadAs<V>(source + p * step + v * Lanes<V>());
      }
    }
  }
  for (int p = 0; p < kCount; ++p) {
    for (int v = 0; v < kSome; ++v) {
      std::memcpy(out + p * out_step + v * Lanes<V>(), &sum[p][v], sizeof(V));
    }
  }
}

template <typename V, int kSome>
void Tiles(int64_t pixels, const float* const* starts, int64_t from, int64_t step,
           const float* weights, const int64_t* cells, int64_t count, float* out,
           int64_t out_step) {
  auto run = pixels == 4   ? &Tile<V, 4, kSome>
             : pixels == 3 ? &Tile<V, 3, kSome>
             : pixels == 2 ? &Tile<V, 2, kSome>
                           : &Tile<V, 1, kSome>;
  run(starts, from, step, weights, cells, count, out, out_step);
}

// A sum over cells for all pixels: the value, and the gradient of the image.
struct Gather {
  ffi::ThreadPool& pool;
  Images source;
  const float* weights;  // cells x channels
  float* result;
  int64_t result_rows, result_cols;
  Ints step;         // between source pixels of neighbouring results
  Ints result_step;  // between neighbouring results of a phase
  bool zeros_count;  // or cells outside of the source are left out
  std::vector<Phase> phases;

  template <typename V>
  void Rows(const Phase& phase, int64_t image, int64_t row, const float* zeros,
            std::vector<Run>& runs, std::vector<const float*>& starts,
            std::vector<int64_t>& cells) const {
    int64_t channels = source.channels, count = phase.cells.size();
    runs.clear(), starts.clear(), cells.clear();
    for (const Cell& cell : phase.cells) cells.push_back(cell.index * channels);
    Split(phase, source, image, row, step, zeros, runs, starts);
    const float* const* start = starts.data();
    int64_t pixel_step = step[1] * channels, out_step = result_step[1] * channels;
    int64_t line = (image * result_rows + phase.first_row + row * result_step[0]) *
                   result_cols;
    for (const Run& run : runs) {
      for (int64_t p = 0; p < run.count; p += kPixels) {
        int64_t pixels = std::min<int64_t>(kPixels, run.count - p);
        int64_t col = phase.first_col + (run.col + p) * result_step[1];
        float* out = result + (line + col) * channels;
        for (int64_t c = 0; c < channels;) {
          int64_t left = (channels - c) / Lanes<V>();
          int some = left >= kVectors ? kVectors : left >= 2 ? 2 : 1;
          int64_t at = std::min(c, channels - Lanes<V>());
          auto tiles = some == kVectors ? &Tiles<V, kVectors>
                       : some == 2      ? &Tiles<V, 2>
                                        : &Tiles<V, 1>;
          tiles(pixels, start, p * pixel_step + at, pixel_step, weights + at,
                cells.data(), count, out + at, out_step);
          c = at + some * Lanes<V>();
        }
      }
      start += count;
    }
  }

  template <typename V>
  void Do() const {
    const float* zeros = zeros_count ? Zeros(source) : nullptr;
    // A few large images are split into rows as well.
    int64_t parts = DivideUp(4 * pool.num_threads(), source.batch);
    int64_t work = source.batch * result_rows * result_cols * source.channels *
                   phases[0].cells.size();
    Parallel(pool, source.batch * parts, work, [&](int64_t task) {
      int64_t image = task / parts, part = task % parts;
      std::vector<Run> runs;
      std::vector<const float*> starts;
      std::vector<int64_t> cells;
      int64_t begin = result_rows * part / parts, end = result_rows * (part + 1) / parts;
      for (int64_t r = begin; r < end; ++r) {
        for (const Phase& phase : phases) {
          int64_t row = r - phase.first_row;
          if (row % result_step[0] != 0) continue;
          Rows<V>(phase, image, row / result_step[0], zeros, runs, starts, cells);
        }
      }
    });
  }
};

constexpr int64_t kOnes[] = {1, 1};

ffi::Error Value(ffi::ThreadPool pool, Image image, Image kernel,
                 ffi::Result<Image> result, Ints strides, Ints before, Ints dilation) {
  Geometry d = Describe(image, kernel, *result, strides, before, dilation);
  Gather task{pool,
              {image.typed_data(), d.batch, d.height, d.width, d.channels},
              kernel.typed_data(),
              result->typed_data(),
              d.rows,
              d.cols,
              strides,
              Ints(kOnes, 2),
              true,
              ResultPhases(d)};
  WithLanes(d.channels, task);
  return ffi::Error::Success();
}

ffi::Error ImageGradient(ffi::ThreadPool pool, Image gradient, Image kernel,
                         ffi::Result<Image> result, Ints strides, Ints before,
                         Ints dilation) {
  Geometry d = Describe(*result, kernel, gradient, strides, before, dilation);
  Gather task{pool,
              {gradient.typed_data(), d.batch, d.rows, d.cols, d.channels},
              kernel.typed_data(),
              result->typed_data(),
              d.height,
              d.width,
              Ints(kOnes, 2),
              strides,
              false,
              ImagePhases(d)};
  WithLanes(d.channels, task);
  return ffi::Error::Success();
}

// sum[cell] += source * gradient, over runs, for one vector of channels.
template <typename V, int kCells>
void Product(const std::vector<Run>& runs, const float* const* starts, int64_t cells,
             int64_t step, const float* gradient, int64_t channels, float* sums) {
  V sum[kCells];
  for (int i = 0; i < kCells; ++i) sum[i] = LoadAs<V>(sums + i * Lanes<V>());
  for (const Run& run : runs) {
    const float* from[kCells];
    for (int i = 0; i < kCells; ++i) from[i] = starts[i];
    for (int64_t p = 0, at = 0; p < run.count; ++p, at += step) {
      V value = LoadAs<V>(gradient);
      gradient += channels;
#pragma GCC unroll 16
      for (int i = 0; i < kCells; ++i) sum[i] += value * LoadAs<V>(from[i] + at);
    }
    starts += cells;
  }
  for (int i = 0; i < kCells; ++i) {
    std::memcpy(sums + i * Lanes<V>(), &sum[i], sizeof(V));
  }
}

template <typename V, int... kCells>
auto Choose(int64_t cells, std::integer_sequence<int, kCells...>) {
  static constexpr decltype(&Product<V, 1>) functions[] = {&Product<V, kCells + 1>...};
  return functions[cells - 1];
}

// Cells whose sums and addresses stay in registers.
constexpr int kMost = 9;
// Pixels that are done for all cells and channels before the next ones.
constexpr int64_t kBand = 64;

struct Scatter {
  ffi::ThreadPool& pool;
  Images source, gradient;
  float* result;  // cells x channels
  Ints step;
  const Phase& phase;

  template <typename V>
  void Do() const {
    int64_t channels = source.channels, cells = phase.cells.size();
    int64_t vectors = DivideUp(channels, Lanes<V>());
    int64_t size = vectors * cells * Lanes<V>();
    // Each part of the rows has a sum of its own; how many depends on shapes alone,
    // so that the bits do not depend on the machine's threads.
    int64_t lines = gradient.batch * gradient.rows;
    int64_t parts = std::min(std::clamp<int64_t>((1 << 20) / size, 1, 16), lines);
    const float* zeros = Zeros(source);
    float* sums = Scratch(1, parts * size);
    int64_t work = lines * gradient.cols * channels * cells;
    Parallel(pool, parts, work, [&](int64_t part) {
      float* own = sums + part * size;
      std::fill_n(own, size, 0.f);
      std::vector<Run> runs;
      std::vector<const float*> starts;
      int64_t end = lines * (part + 1) / parts, band = DivideUp(kBand, gradient.cols);
      for (int64_t line = lines * part / parts; line < end; line += band) {
        runs.clear(), starts.clear();
        for (int64_t r = line; r < std::min(line + band, end); ++r) {
          Split(phase, source, r / gradient.rows, r % gradient.rows, step, zeros, runs,
                starts);
        }
        Band<V>(runs, starts, line, own);
      }
    });
    Parallel(pool, vectors, parts * size, [&](int64_t v) {
      for (int64_t i = 0; i < cells; ++i) {
        const float* from = sums + (v * cells + i) * Lanes<V>();
        V total = LoadAs<V>(from);
        for (int64_t part = 1; part < parts; ++part) {
          total += LoadAs<V>(from + part * size);
        }
        // Lanes that two vectors share are written by the first alone.
        int64_t at = Start(v, Lanes<V>(), channels), done = v * Lanes<V>() - at;
        float lanes[Lanes<V>()];
        std::memcpy(lanes, &total, sizeof(V));
        std::copy(lanes + done, lanes + Lanes<V>(), result + i * channels + at + done);
      }
    });
  }

  template <typename V>
  void Band(const std::vector<Run>& runs, const std::vector<const float*>& starts,
            int64_t line, float* sums) const {
    int64_t channels = source.channels, cells = phase.cells.size();
    int64_t groups = DivideUp(cells, kMost);
    const float* pixels = gradient.data + line * gradient.cols * channels;
    std::vector<const float*> moved(starts.size());
    for (int64_t v = 0; v < DivideUp(channels, Lanes<V>()); ++v) {
      int64_t c = Start(v, Lanes<V>(), channels);
      for (size_t i = 0; i < starts.size(); ++i) moved[i] = starts[i] + c;
      for (int64_t g = 0; g < groups; ++g) {
        int64_t first = cells * g / groups, some = cells * (g + 1) / groups - first;
        Choose<V>(some, std::make_integer_sequence<int, kMost>())(
            runs, moved.data() + first, cells, step[1] * channels, pixels + c, channels,
            sums + (v * cells + first) * Lanes<V>());
      }
    }
  }
};

ffi::Error KernelGradient(ffi::ThreadPool pool, Image image, Image gradient,
                          ffi::Result<Image> result, Ints strides, Ints before,
                          Ints dilation) {
  Geometry d = Describe(image, *result, gradient, strides, before, dilation);
  Phase phase = ResultPhases(d)[0];
  Scatter task{pool,
               {image.typed_data(), d.batch, d.height, d.width, d.channels},
               {gradient.typed_data(), d.batch, d.rows, d.cols, d.channels},
               result->typed_data(),
               strides,
               phase};
  WithLanes(d.channels, task);
  return ffi::Error::Success();
}

}  // namespace
}  // namespace lamina

XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_depthwise, lamina::Value, lamina::ConvolutionSignature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_depthwise_image, lamina::ImageGradient,
                              lamina::ConvolutionSignature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_depthwise_kernel, lamina::KernelGradient,
                              lamina::ConvolutionSignature());
