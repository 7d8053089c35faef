// The exponential function of a vector.
#pragma once

#include "simd.h"

namespace lamina {
namespace {

inline Vec Power(UnsignedVec rounded) {
  return reinterpret_cast<Vec>((rounded + 127) << 23);
}

inline Vec Clamp(Vec x, float low, float high) {  // NaN stays
  x = x < low ? All(low) : x;
  return x > high ? All(high) : x;
}

// exp(x) is scale * (1 + part); part is as exact as numbers near 0 are.
struct Exponential {
  Vec scale, part;

  explicit Exponential(Vec x) {
    constexpr float kRound = 12582912;  // 1.5 * 2^23: the last bit counts ones
    Vec rounded = x * 1.44269504f + kRound;
    Vec r = x - (rounded - kRound) * 0.693147181f;
    Vec sum = r * 0.00138824969f + 0.00836664718f;
    sum = sum * r + 0.0416672044f;
    sum = sum * r + 0.16666542f;
    sum = sum * r + 0.49999997f;
    part = sum * r * r + r;
    scale = Power(reinterpret_cast<UnsignedVec>(rounded));
  }
};

}  // namespace
}  // namespace lamina
