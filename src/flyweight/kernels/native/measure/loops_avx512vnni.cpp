// Products of bytes by AVX-512 VNNI.
#include <immintrin.h>

#include "measure/loops.h"

namespace flyweight {
namespace avx512vnni {

static void Dot(int64_t rounds) {
  __m512i x = _mm512_set1_epi8(3), weight = _mm512_set1_epi8(-5);
  FW_OPAQUE(x);
  FW_OPAQUE(weight);
#define FW_START(i) __m512i sum##i = x;
#define FW_STEP(i) \
  sum##i = _mm512_dpbusd_epi32(sum##i, x, weight); \
  FW_OPAQUE(sum##i);
  FW_TWELVE(FW_START)
  for (int64_t round = 0; round < rounds; ++round) {
    FW_TWELVE(FW_STEP)
  }
#undef FW_START
#undef FW_STEP
}

const MeasureByteLoop kMeasureBytes = {Dot, 2 * 12 * 64};

}  // namespace avx512vnni
}  // namespace flyweight
