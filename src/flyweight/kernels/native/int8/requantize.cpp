#include "int8/requantize.h"

#include <cmath>
#include <cstring>

#include "core/error.h"

namespace flyweight::int8 {

Clamp MakeClamp(uint8_t zero, uint8_t low, uint8_t high, const float *scale, int64_t rows) {
  if (low > high) Fail("y_low is %d and y_high is %d. Give bounds of which the lower is not the higher.", low, high);
  bool plain = zero == 0 && low == 0 && high == 255;
  // Sums are 32 bits, so a scale below 1 leaves them below 2^31.
  for (int64_t row = 0; row < rows && plain; ++row) plain = std::fabs(scale[row]) < 1.0f;
  return {static_cast<float>(high) - static_cast<float>(zero), zero, low, plain};
}

Addition MakeAddition(const fw_qadd_spec &spec) {
  if (spec.y_low > spec.y_high)
    Fail("y_low is %d and y_high is %d. Give bounds of which the lower is not the higher.", spec.y_low, spec.y_high);
  const float a_scale = spec.a_scale / spec.y_scale, b_scale = spec.b_scale / spec.y_scale;
  constexpr float kMost = 1e30f;  // 2^23 times as much is a number still
  if (!(std::fabs(a_scale) < kMost) || !(std::fabs(b_scale) < kMost))
    Fail("the scales %g and %g over %g are no finite numbers below 1e30. Give such ones, and y_scale not 0.",
         static_cast<double>(spec.a_scale), static_cast<double>(spec.b_scale), static_cast<double>(spec.y_scale));
  const float shift = static_cast<float>(spec.y_zero) -
                      (a_scale * static_cast<float>(spec.a_zero) + b_scale * static_cast<float>(spec.b_zero));
  const bool plain = spec.y_low == 0 && spec.y_high == 255 &&
                     std::fabs(shift) + 255.0f * (std::fabs(a_scale) + std::fabs(b_scale)) < 1e9f;
  return {a_scale, b_scale, shift, static_cast<float>(spec.y_low), static_cast<float>(spec.y_high), plain};
}

AlignedArray<float> CopyScale(const float *scale, int64_t rows, int64_t padded) {
  if (scale == nullptr) Fail("scale is NULL. Give %lld numbers, one a row.", static_cast<long long>(rows));
  AlignedArray<float> copy = MakeAligned<float>(static_cast<size_t>(padded));
  for (int64_t row = 0; row < padded; ++row) {
    copy[row] = row < rows ? scale[row] : 0.0f;
    if (!std::isfinite(copy[row]))
      Fail("scale[%lld] is %g. Give a finite number.", static_cast<long long>(row), static_cast<double>(copy[row]));
  }
  return copy;
}

AlignedArray<int32_t> FoldBias(const int32_t *bias, const int64_t *weight_sums, uint8_t x_zero, int64_t rows,
                               int64_t padded) {
  AlignedArray<int32_t> folded = MakeAligned<int32_t>(static_cast<size_t>(padded));
  for (int64_t row = 0; row < padded; ++row) {
    const uint64_t given = row < rows && bias != nullptr ? static_cast<uint32_t>(bias[row]) : 0;
    const uint64_t taken = row < rows ? static_cast<uint64_t>(weight_sums[row]) * x_zero : 0;
    folded[row] = static_cast<int32_t>(static_cast<uint32_t>(given - taken));
  }
  return folded;
}

int64_t PutSixteen(const int8_t weights[16], bool wide, int8_t *to) {
  if (!wide) {
    std::memcpy(to, weights, 16);
    return 16;
  }
  int16_t pairs[16];
  for (int i = 0; i < 8; ++i) {
    pairs[i] = weights[2 * i];
    pairs[8 + i] = weights[2 * i + 1];
  }
  std::memcpy(to, pairs, 32);
  return 32;
}

}  // namespace flyweight::int8
