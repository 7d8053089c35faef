// Products whose result, a tile of some pixels times a few vectors of channels, is
// kept in registers while the sum runs. A pixel is any row of numbers.
#pragma once

#include <algorithm>
#include <utility>

#include "simd.h"

namespace lamina {
namespace {

struct Offset {
  int64_t source, matrix;
};

// Adds the products of some neighbouring channels to a tile.
template <int kPixels, int kVectors, int kSteps>
inline __attribute__((always_inline)) void Add(const float* source, int64_t pixel_step,
                                               const float* matrix, int64_t padded,
                                               Vec (&sum)[kPixels][kVectors]) {
  Vec row[kSteps][kVectors];
#pragma GCC unroll 8
  for (int s = 0; s < kSteps; ++s) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) row[s][v] = Load(matrix + s * padded + v * kLanes);
  }
#pragma GCC unroll 32
  for (int p = 0; p < kPixels; ++p) {
    const float* pixel = source + p * pixel_step;
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; ++s) {
      Vec value = All(pixel[s]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[p][v] += value * row[s][v];
    }
  }
}

template <int kPixels, int kVectors>
void Tile(const float* source, int64_t pixel_step, const Offset* cells, int64_t count,
          int64_t channels, const float* matrices, int64_t padded, bool add, float* out,
          int64_t out_step, int64_t left) {
  // Channels at a time: a pixel's address is computed once for all of them.
  constexpr int kSteps = std::max(1, kRegisters / 8 / kVectors);
  Vec sum[kPixels][kVectors];
#pragma GCC unroll 32
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[p][v] = add ? Load(out + p * out_step + v * kLanes, left - v * kLanes) : Vec{};
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    const float* a = source + cells[i].source;
    const float* b = matrices + cells[i].matrix;
    int64_t c = 0;
    for (; c + kSteps <= channels; c += kSteps, b += kSteps * padded) {
      Add<kPixels, kVectors, kSteps>(a + c, pixel_step, b, padded, sum);
    }
    for (; c < channels; ++c, b += padded) {
      Add<kPixels, kVectors, 1>(a + c, pixel_step, b, padded, sum);
    }
  }
#pragma GCC unroll 32
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      Store(out + p * out_step + v * kLanes, sum[p][v], left - v * kLanes);
    }
  }
}

using TileFunction = decltype(&Tile<1, 1>);

// Three registers stay free for a row of the matrix and the value.
constexpr int MostPixels(int vectors) {
  return std::min(16, (kRegisters - vectors - 2) / vectors);
}

template <int kVectors, int... kPixels>
TileFunction Choose(int64_t pixels, std::integer_sequence<int, kPixels...>) {
  static constexpr TileFunction functions[] = {&Tile<kPixels + 1, kVectors>...};
  return functions[pixels - 1];
}

template <int kVectors>
TileFunction Choose(int64_t pixels) {
  return Choose<kVectors>(pixels,
                          std::make_integer_sequence<int, MostPixels(kVectors)>());
}

inline TileFunction Choose(int64_t pixels, int vectors) {
  if (vectors == 4) return Choose<4>(pixels);
  if (vectors == 2) return Choose<2>(pixels);
  return Choose<1>(pixels);
}

// Four vectors leave 16 registers two pixels, too few sums to hide how long one takes.
inline int Vectors(int64_t left) {
  int64_t whole = left / kLanes;
  return whole >= 4 && kRegisters > 16 ? 4 : whole >= 2 ? 2 : 1;
}

}  // namespace
}  // namespace lamina
