// Sixteen floats. Included once by a file compiled for AVX-512; all is internal to that file.
#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
// GCC's own header makes its "any value" by reading a variable that it never set.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define FW_INLINE static inline __attribute__((always_inline))
#define FW_ISA avx512

namespace flyweight {
namespace avx512 {
namespace {

struct Vec {
  typedef __m512 V;
  typedef __mmask16 Mask;
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  // A factor that stands in memory is repeated by the multiplication itself, so it needs no register.
  static constexpr int kFactorRegisters = 0;
  // A multiplication leaves lanes out for nothing, where a load that does costs an instruction more.
  static constexpr bool kMasksSums = true;

  FW_INLINE Mask First(int64_t n) { return n >= 16 ? 0xffff : static_cast<Mask>((1u << n) - 1); }
  // Lanes [low, high), of which any may lie beyond the vector.
  FW_INLINE Mask Between(int64_t low, int64_t high) {
    return low >= high || high <= 0 ? Mask(0) : static_cast<Mask>(First(high) & ~(low <= 0 ? Mask(0) : First(low)));
  }
  FW_INLINE V Load(const float *p) { return _mm512_loadu_ps(p); }
  FW_INLINE V Load(const float *p, Mask m) { return _mm512_maskz_loadu_ps(m, p); }
  // Once in a register for all its uses: the compiler would load it anew for each, and a load that crosses a cache line
  // costs as much as a multiplication.
  FW_INLINE V Keep(V v) {
    __asm__("" : "+v"(v));
    return v;
  }
  FW_INLINE void Store(float *p, V v) { _mm512_storeu_ps(p, v); }
  FW_INLINE void Store(float *p, V v, Mask m) { _mm512_mask_storeu_ps(p, m, v); }
  FW_INLINE V Set(float f) { return _mm512_set1_ps(f); }
  FW_INLINE V Add(V a, V b) { return _mm512_add_ps(a, b); }
  FW_INLINE V Sub(V a, V b) { return _mm512_sub_ps(a, b); }
  FW_INLINE V Mul(V a, V b) { return _mm512_mul_ps(a, b); }
  FW_INLINE V Fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  // c in the lanes that are not in m.
  FW_INLINE V Fma(V a, V b, V c, Mask m) { return _mm512_mask3_fmadd_ps(a, b, c, m); }
  // The second where either is no number, so that a NaN in b passes.
  FW_INLINE V Min(V a, V b) { return _mm512_min_ps(a, b); }
  FW_INLINE V Max(V a, V b) { return _mm512_max_ps(a, b); }
  FW_INLINE V And(V a, const uint32_t *bits) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_loadu_si512(bits)));
  }
  FW_INLINE V Abs(V a) { return _mm512_abs_ps(a); }
  FW_INLINE V Round(V a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // f * 2^n for a whole n from -126 to 0.
  FW_INLINE V Scale(V f, V n) { return _mm512_scalef_ps(f, n); }

  // Four floats of each fourth row, one row a 128-bit lane: the first step of a transposition.
  FW_INLINE V LoadLanes(const float *p, int64_t ld) {
    V v = _mm512_castps128_ps512(_mm_loadu_ps(p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 4 * ld), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 8 * ld), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(p + 12 * ld), 3);
  }
  FW_INLINE V UnpackLow(V a, V b) { return _mm512_unpacklo_ps(a, b); }
  FW_INLINE V UnpackHigh(V a, V b) { return _mm512_unpackhi_ps(a, b); }
  FW_INLINE V PairLow(V a, V b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  FW_INLINE V PairHigh(V a, V b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  // Of 32 floats the even and the odd ones.
  FW_INLINE V Even(V a, V b) {
    const __m512i index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, index, b);
  }
  FW_INLINE V Odd(V a, V b) {
    const __m512i index = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(a, index, b);
  }
  // The scalar, then all lanes but the last.
  FW_INLINE V ShiftIn(float first, V v) {
    return _mm512_castsi512_ps(
        _mm512_alignr_epi32(_mm512_castps_si512(v), _mm512_castps_si512(_mm512_set1_ps(first)), 15));
  }
};

}  // namespace
}  // namespace avx512
}  // namespace flyweight
