// Resizes an image: each new row is a weighted sum of a few rows, and so are the
// columns. Called without XLA, by threads that read files. Products are rounded before
// they are added, as NumPy does, so that both ways give the same bits.

#include <cstdint>
#include <vector>

#include "simd.h"

#if defined(__clang__)
#pragma clang fp contract(off)
#define ROUNDED
#else
#define ROUNDED __attribute__((optimize("fp-contract=off")))
#endif

namespace lamina {
namespace {

// Which rows or columns make each new one, and their weights: (new size, taps).
struct Taps {
  const int64_t* from;
  const float* weights;
  int64_t count, taps;
};

ROUNDED void SumRows(const uint8_t* image, int64_t size, const Taps& rows, int64_t y,
                     float* sum) {
  const float* weights = rows.weights + y * rows.taps;
  const int64_t* from = rows.from + y * rows.taps;
  const uint8_t* first = image + from[0] * size;
  const float weight = weights[0];
  int64_t k = 1;
  if (rows.taps == 1) {
    for (int64_t i = 0; i < size; ++i) sum[i] = weight * static_cast<float>(first[i]);
  } else {  // two at once: the sum is written once
    const uint8_t* second = image + from[k] * size;
    const float other = weights[k++];
    for (int64_t i = 0; i < size; ++i) {
      const float product = weight * static_cast<float>(first[i]);
      sum[i] = product + other * static_cast<float>(second[i]);
    }
  }
  for (; k < rows.taps; ++k) {
    const uint8_t* row = image + from[k] * size;
    const float more = weights[k];
    for (int64_t i = 0; i < size; ++i) sum[i] += more * static_cast<float>(row[i]);
  }
}

// The channels of a pixel are one vector, of which `channels` numbers count: the others
// are what lies behind, and are written before what belongs there.
template <typename V>
ROUNDED void SumColumns(const float* row, int64_t channels, const Taps& columns,
                        float* out) {
  const int64_t* from = columns.from;
  const float* weights = columns.weights;
  for (int64_t x = 0; x < columns.count; ++x) {
    V sum = *weights++ * LoadAs<V>(row + *from++ * channels);
    for (int64_t k = 1; k < columns.taps; ++k) {
      const V product = *weights++ * LoadAs<V>(row + *from++ * channels);
      sum = sum + product;
    }
    std::memcpy(out + x * channels, &sum, sizeof(V));
  }
}

}  // namespace
}  // namespace lamina

// image: (?, width, channels), of 1 to 4 channels; from_* and weight_*: (new size,
// taps); out: (new height, new width, channels).
extern "C" __attribute__((visibility("default"))) void lamina_resize(
    const uint8_t* image, int64_t width, int64_t channels, const int64_t* from_rows,
    const float* weight_rows, int64_t new_height, int64_t taps_rows,
    const int64_t* from_columns, const float* weight_columns, int64_t new_width,
    int64_t taps_columns, float* out) {
  using namespace lamina;
  const Taps rows{from_rows, weight_rows, new_height, taps_rows};
  const Taps columns{from_columns, weight_columns, new_width, taps_columns};
  const int64_t size = width * channels, new_size = new_width * channels;
  std::vector<float> row(size + 3), last(new_size + 3);
  for (int64_t y = 0; y < new_height; ++y) {
    SumRows(image, size, rows, y, row.data());
    float* sums = y + 1 < new_height ? out + y * new_size : last.data();
    if (channels == 1) {
      SumColumns<float>(row.data(), channels, columns, sums);
    } else {
      SumColumns<Vec4>(row.data(), channels, columns, sums);
    }
  }
  std::memcpy(out + (new_height - 1) * new_size, last.data(), new_size * sizeof(float));
}
