// Resizes an image: each new row is a weighted sum of a few rows, and so are the
// columns. Called without XLA, by threads that read files. Products are rounded before
// they are added, as NumPy does, so that both ways give the same bits.

#include <cstdint>
#include <vector>

#if defined(__clang__)
#pragma clang fp contract(off)
#define ROUNDED
#else
#define ROUNDED __attribute__((optimize("fp-contract=off")))
#endif

namespace {

template <typename T>
ROUNDED void add_row(const T* row, float weight, bool first, int64_t size, float* sum) {
  if (first) {
    for (int64_t i = 0; i < size; ++i) sum[i] = weight * static_cast<float>(row[i]);
  } else {
    for (int64_t i = 0; i < size; ++i) sum[i] += weight * static_cast<float>(row[i]);
  }
}

}  // namespace

// image: (?, width, channels); from_* and weight_*: (new size, taps); out: (new height,
// new width, channels).
extern "C" __attribute__((visibility("default"))) ROUNDED void lamina_resize(
    const uint8_t* image, int64_t width, int64_t channels, const int64_t* from_rows,
    const float* weight_rows, int64_t new_height, int64_t taps_rows,
    const int64_t* from_columns, const float* weight_columns, int64_t new_width,
    int64_t taps_columns, float* out) {
  const int64_t size = width * channels;
  std::vector<float> row(size);
  for (int64_t y = 0; y < new_height; ++y) {
    for (int64_t k = 0; k < taps_rows; ++k) {
      const int64_t at = y * taps_rows + k;
      add_row(image + from_rows[at] * size, weight_rows[at], k == 0, size, row.data());
    }
    for (int64_t x = 0; x < new_width; ++x, out += channels) {
      for (int64_t c = 0; c < channels; ++c) {
        float sum = 0;
        for (int64_t k = 0; k < taps_columns; ++k) {
          const int64_t at = x * taps_columns + k;
          const float term = weight_columns[at] * row[from_columns[at] * channels + c];
          sum = k == 0 ? term : sum + term;
        }
        out[c] = sum;
      }
    }
  }
}
