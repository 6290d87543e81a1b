// AVX2 with FMA.
#include <immintrin.h>

#include "measure/loops.h"

namespace flyweight {
namespace avx2 {

constexpr int kBytes = 32;
#include "measure/loops.inl"

// Pairs of 16 bits: the instruction of AVX2 that multiplies bytes saturates, so that its sums would be wrong.
static void Dot(int64_t rounds) {
  __m256i x = _mm256_set1_epi16(3), weight = _mm256_set1_epi16(-5);
  FW_OPAQUE(x);
  FW_OPAQUE(weight);
#define FW_START(i) __m256i sum##i = x;
#define FW_STEP(i) \
  FW_OPAQUE(x); \
  sum##i = _mm256_add_epi32(sum##i, _mm256_madd_epi16(x, weight)); \
  FW_OPAQUE(sum##i);
  FW_TWELVE(FW_START)
  for (int64_t round = 0; round < rounds; ++round) {
    FW_TWELVE(FW_STEP)
  }
#undef FW_START
#undef FW_STEP
}

const MeasureByteLoop kMeasureBytes = {Dot, 2 * 12 * 16};

}  // namespace avx2
}  // namespace flyweight
