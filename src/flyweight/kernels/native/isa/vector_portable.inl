// Four floats by the compiler's own vectors: SSE2, NEON or plain numbers, whatever the architecture always has.
#include <stdint.h>

#define FW_INLINE static inline __attribute__((always_inline))
#define FW_ISA portable

namespace flyweight {
namespace portable {
namespace {

struct Vec {
  typedef float V __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
  struct Mask {  // lanes [low, high)
    int64_t low, high;
  };
  static constexpr int kLanes = 4;
  static constexpr int kRegisters = 16;
  static constexpr int kFactorRegisters = 2;  // without a fused instruction the product needs a register too
  static constexpr bool kMasksSums = false;

  FW_INLINE Mask First(int64_t n) { return {0, n >= 4 ? 4 : n}; }
  // Lanes [low, high), of which any may lie beyond the vector.
  FW_INLINE Mask Between(int64_t low, int64_t high) { return {low < 0 ? 0 : low, high >= 4 ? 4 : high}; }
  FW_INLINE V Load(const float *p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  FW_INLINE V Load(const float *p, Mask m) {
    V v = {0, 0, 0, 0};
    for (int64_t i = m.low; i < m.high; ++i) v[i] = p[i];
    return v;
  }
  FW_INLINE V Keep(V v) { return v; }
  FW_INLINE void Store(float *p, V v) { __builtin_memcpy(p, &v, sizeof v); }
  FW_INLINE void Store(float *p, V v, Mask m) {
    for (int64_t i = m.low; i < m.high; ++i) p[i] = v[i];
  }
  FW_INLINE V Set(float f) { return V{f, f, f, f}; }
  FW_INLINE V Add(V a, V b) { return a + b; }
  FW_INLINE V Sub(V a, V b) { return a - b; }
  FW_INLINE V Mul(V a, V b) { return a * b; }
  FW_INLINE V Fma(V a, V b, V c) { return a * b + c; }
  // The second where either is no number, so that a NaN in b passes.
  FW_INLINE V Min(V a, V b) { return a < b ? a : b; }
  FW_INLINE V Max(V a, V b) { return a > b ? a : b; }
  FW_INLINE V And(V a, const uint32_t *bits) {
    I mask;
    __builtin_memcpy(&mask, bits, sizeof mask);
    return reinterpret_cast<V>(reinterpret_cast<I>(a) & mask);
  }
  FW_INLINE V Abs(V a) { return reinterpret_cast<V>(reinterpret_cast<I>(a) & 0x7fffffff); }
  // Adding 1.5 * 2^23 leaves no room for a fraction; good for what is far smaller than that.
  FW_INLINE V Round(V a) { return (a + 12582912.0f) - 12582912.0f; }
  // f * 2^n for a whole n from -126 to 0.
  FW_INLINE V Scale(V f, V n) {
    const I exponent = __builtin_convertvector(n, I) + 127;
    return f * reinterpret_cast<V>(exponent << 23);
  }

  // Four floats of each fourth row, one row a 128-bit lane: here there is one lane.
  FW_INLINE V LoadLanes(const float *p, int64_t) { return Load(p); }
  FW_INLINE V UnpackLow(V a, V b) { return V{a[0], b[0], a[1], b[1]}; }
  FW_INLINE V UnpackHigh(V a, V b) { return V{a[2], b[2], a[3], b[3]}; }
  FW_INLINE V PairLow(V a, V b) { return V{a[0], a[1], b[0], b[1]}; }
  FW_INLINE V PairHigh(V a, V b) { return V{a[2], a[3], b[2], b[3]}; }
  // Of 8 floats the even ones.
  FW_INLINE V Even(V a, V b) { return V{a[0], a[2], b[0], b[2]}; }
  FW_INLINE V Odd(V a, V b) { return V{a[1], a[3], b[1], b[3]}; }
  // The scalar, then all lanes but the last.
  FW_INLINE V ShiftIn(float first, V v) { return V{first, v[0], v[1], v[2]}; }
};

}  // namespace
}  // namespace portable
}  // namespace flyweight
