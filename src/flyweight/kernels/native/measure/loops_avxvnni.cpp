// Products of bytes by AVX-VNNI, the 32-byte form of processors without AVX-512.
#include <immintrin.h>

#include "measure/loops.h"

namespace flyweight {
namespace avxvnni {

static void Dot(int64_t rounds) {
  __m256i x = _mm256_set1_epi8(3), weight = _mm256_set1_epi8(-5);
  FW_OPAQUE(x);
  FW_OPAQUE(weight);
#define FW_START(i) __m256i sum##i = x;
#define FW_STEP(i) \
  sum##i = _mm256_dpbusd_avx_epi32(sum##i, x, weight); \
  FW_OPAQUE(sum##i);
  FW_TWELVE(FW_START)
  for (int64_t round = 0; round < rounds; ++round) {
    FW_TWELVE(FW_STEP)
  }
#undef FW_START
#undef FW_STEP
}

const MeasureByteLoop kMeasureBytes = {Dot, 2 * 12 * 32};

}  // namespace avxvnni
}  // namespace flyweight
