// Eight floats. Included once by a file compiled for AVX2 and FMA; all is internal to that file.
#include <immintrin.h>

#define FW_INLINE static inline __attribute__((always_inline))
#define FW_ISA avx2

namespace flyweight {
namespace avx2 {
namespace {

struct Vec {
  typedef __m256 V;
  typedef __m256i Mask;
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  static constexpr int kFactorRegisters = 1;
  static constexpr bool kMasksSums = false;

  FW_INLINE Mask First(int64_t n) {
    const int count = n >= 8 ? 8 : static_cast<int>(n);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  // Lanes [low, high), of which any may lie beyond the vector.
  FW_INLINE Mask Between(int64_t low, int64_t high) {
    return _mm256_andnot_si256(First(low < 0 ? 0 : low), First(high < 0 ? 0 : high));
  }
  FW_INLINE V Load(const float *p) { return _mm256_loadu_ps(p); }
  FW_INLINE V Load(const float *p, Mask m) { return _mm256_maskload_ps(p, m); }
  // Once in a register for all its uses: the compiler would load it anew for each, and a load that crosses a cache line
  // costs as much as a multiplication.
  FW_INLINE V Keep(V v) {
    __asm__("" : "+x"(v));
    return v;
  }
  FW_INLINE void Store(float *p, V v) { _mm256_storeu_ps(p, v); }
  FW_INLINE void Store(float *p, V v, Mask m) { _mm256_maskstore_ps(p, m, v); }
  FW_INLINE V Set(float f) { return _mm256_set1_ps(f); }
  FW_INLINE V Add(V a, V b) { return _mm256_add_ps(a, b); }
  FW_INLINE V Sub(V a, V b) { return _mm256_sub_ps(a, b); }
  FW_INLINE V Mul(V a, V b) { return _mm256_mul_ps(a, b); }
  FW_INLINE V Fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  // The second where either is no number, so that a NaN in b passes.
  FW_INLINE V Min(V a, V b) { return _mm256_min_ps(a, b); }
  FW_INLINE V Max(V a, V b) { return _mm256_max_ps(a, b); }
  FW_INLINE V And(V a, const uint32_t *bits) {
    return _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(bits))));
  }
  FW_INLINE V Abs(V a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  FW_INLINE V Round(V a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // f * 2^n for a whole n from -126 to 0.
  FW_INLINE V Scale(V f, V n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(f, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }

  // Four floats of each fourth row, one row a 128-bit lane: the first step of a transposition.
  FW_INLINE V LoadLanes(const float *p, int64_t ld) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 4 * ld), 1);
  }
  FW_INLINE V UnpackLow(V a, V b) { return _mm256_unpacklo_ps(a, b); }
  FW_INLINE V UnpackHigh(V a, V b) { return _mm256_unpackhi_ps(a, b); }
  FW_INLINE V PairLow(V a, V b) {
    return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
  }
  FW_INLINE V PairHigh(V a, V b) {
    return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
  }
  // Of 16 floats the even ones.
  FW_INLINE V Even(V a, V b) {
    const __m256 mixed = _mm256_shuffle_ps(a, b, 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
  }
  FW_INLINE V Odd(V a, V b) {
    const __m256 mixed = _mm256_shuffle_ps(a, b, 0xdd);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
  }
  // The scalar, then all lanes but the last.
  FW_INLINE V ShiftIn(float first, V v) {
    const V turned = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6));
    return _mm256_blend_ps(turned, _mm256_set1_ps(first), 1);
  }
};

}  // namespace
}  // namespace avx2
}  // namespace flyweight
