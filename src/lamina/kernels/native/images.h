// What the convolutions share: images, windows, and which results see which cells.
#pragma once

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "simd.h"
#include "threads.h"

namespace lamina {
namespace {

using Image = ffi::Buffer<ffi::F32>;
using Ints = ffi::Span<const int64_t>;

struct Geometry {
  int64_t batch, height, width, channels;  // of the image
  int64_t rows, cols, outputs;             // of the result
  int64_t window[2], stride[2], before[2], dilation[2];

  int64_t cells() const { return window[0] * window[1]; }
};

// One spatial dimension is a height of one. A kernel is a window of matrices, or of
// one weight for each channel.
inline Geometry Describe(const Image& image, const Image& kernel, const Image& result,
                         Ints strides, Ints before, Ints dilation) {
  auto shape = [](const Image& a) -> std::array<int64_t, 4> {
    auto d = a.dimensions();
    if (d.size() == 3) return {d[0], 1, d[1], d[2]};
    return {d[0], d[1], d[2], d[3]};
  };
  auto x = shape(image), y = shape(result);
  auto spatial = image.dimensions().size() - 2;
  auto k = kernel.dimensions();
  return {x[0],
          x[1],
          x[2],
          x[3],
          y[1],
          y[2],
          y[3],
          {spatial == 1 ? 1 : k[0], k[spatial - 1]},
          {strides[0], strides[1]},
          {before[0], before[1]},
          {dilation[0], dilation[1]}};
}

// One cell of the window: where its source pixel is, counted from that of the first
// result, and which one it is.
struct Cell {
  int64_t row, col, index;
};

// Result pixels that lie some pixels apart and see the same cells.
struct Phase {
  int64_t rows, cols;            // how many
  int64_t first_row, first_col;  // the first one's place
  std::vector<Cell> cells;
  int64_t low[2] = {0, 0}, high[2] = {0, 0};  // of the cells' places, or 0

  void Add(Cell cell) {
    cells.push_back(cell);
    low[0] = std::min(low[0], cell.row), high[0] = std::max(high[0], cell.row);
    low[1] = std::min(low[1], cell.col), high[1] = std::max(high[1], cell.col);
  }
};

// The results of a convolution: all see the whole window.
inline std::vector<Phase> ResultPhases(const Geometry& d) {
  Phase phase{d.rows, d.cols, 0, 0, {}};
  for (int64_t i = 0; i < d.cells(); ++i) {
    phase.Add({i / d.window[1] * d.dilation[0] - d.before[0],
               i % d.window[1] * d.dilation[1] - d.before[1], i});
  }
  return {phase};
}

// The cells that image places a stride apart see along one dimension: each with its
// index, and its place among the results for the first of them.
inline std::vector<std::pair<int64_t, int64_t>> Seen(const Geometry& d, int axis,
                                                     int64_t first) {
  std::vector<std::pair<int64_t, int64_t>> cells;
  for (int64_t k = 0; k < d.window[axis]; ++k) {
    int64_t place = first + d.before[axis] - k * d.dilation[axis];
    if (place % d.stride[axis] == 0) cells.push_back({k, place / d.stride[axis]});
  }
  return cells;
}

// The image's pixels, whose gradients come from the results that have seen them.
inline std::vector<Phase> ImagePhases(const Geometry& d) {
  std::vector<Phase> phases;
  for (int64_t r = 0; r < std::min(d.stride[0], d.height); ++r) {
    for (int64_t c = 0; c < std::min(d.stride[1], d.width); ++c) {
      Phase phase{DivideUp(d.height - r, d.stride[0]), DivideUp(d.width - c, d.stride[1]),
                  r, c, {}};
      for (auto [i, row] : Seen(d, 0, r)) {
        for (auto [j, col] : Seen(d, 1, c)) {
          phase.Add({row, col, i * d.window[1] + j});
        }
      }
      phases.push_back(phase);
    }
  }
  return phases;
}

// What the three functions of a family take: two arrays, and the window's settings.
inline auto TwoImages() {
  return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Image>().Arg<Image>();
}

template <typename Inputs>
auto Windowed(Inputs inputs) {
  return std::move(inputs)
      .template Ret<Image>()
      .template Attr<Ints>("strides")
      .template Attr<Ints>("before")
      .template Attr<Ints>("dilation");
}

inline auto ConvolutionSignature() { return Windowed(TwoImages()); }

}  // namespace
}  // namespace lamina
