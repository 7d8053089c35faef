// A step of Adam over f32 arrays that reads each once; loops of XLA's, one for each
// result, read the averages and the gradient twice.

#include <algorithm>
#include <cmath>

#include "simd.h"
#include "threads.h"

namespace lamina {
namespace {

using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;

// The results may lie where the mean, the square and the weight do.
ffi::Error Adam(ffi::ThreadPool pool, Array gradient, Array mean, Array square,
                Array weight, Array rate, float new_mean, float new_square,
                float epsilon, Result to_mean, Result to_square, Result to_weight) {
  constexpr int64_t kBlock = 1 << 14;
  const float r = *rate.typed_data();
  const int64_t size = weight.element_count();
  // A root and a quotient take as long as several products.
  Parallel(pool, DivideUp(size, kBlock), 20 * size, [&](int64_t block) {
    const int64_t first = block * kBlock, count = std::min(kBlock, size - first);
    const float* g = gradient.typed_data() + first;
    const float* m = mean.typed_data() + first;
    const float* v = square.typed_data() + first;
    const float* w = weight.typed_data() + first;
    float* to_m = to_mean->typed_data() + first;
    float* to_v = to_square->typed_data() + first;
    float* to_w = to_weight->typed_data() + first;
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      const float now_m = m[i] + (g[i] - m[i]) * new_mean;
      const float now_v = v[i] + (g[i] * g[i] - v[i]) * new_square;
      to_m[i] = now_m;
      to_v[i] = now_v;
      to_w[i] = w[i] - now_m * r / (std::sqrt(now_v) + epsilon);
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace lamina

XLA_FFI_DEFINE_HANDLER_SYMBOL(lamina_adam, lamina::Adam,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<lamina::Array>()
                                  .Arg<lamina::Array>()
                                  .Arg<lamina::Array>()
                                  .Arg<lamina::Array>()
                                  .Arg<lamina::Array>()
                                  .Attr<float>("new_mean")
                                  .Attr<float>("new_square")
                                  .Attr<float>("epsilon")
                                  .Ret<lamina::Array>()
                                  .Ret<lamina::Array>()
                                  .Ret<lamina::Array>());
