// Activations on vectors. Needs Vec and FW_ISA of a vector_*.inl before it.
#if defined(__clang__)
#define FW_UNROLL _Pragma("unroll")
#else
#define FW_UNROLL _Pragma("GCC unroll 32")
#endif

namespace flyweight {
namespace FW_ISA {
namespace {

typedef Vec::V V;

// y = min(high, max(low, x)) is all that no activation, ReLU and ReLU6 need, and takes no branch.
struct Bounds {
  float low, high;
};
FW_INLINE Bounds ClampOf(int32_t activation) {
  const float infinity = __builtin_inff();
  return {activation == FW_RELU || activation == FW_RELU6 ? 0.0f : -infinity, activation == FW_RELU6 ? 6.0f : infinity};
}
FW_INLINE bool IsClamp(int32_t activation) { return activation != FW_HARDSWISH && activation != FW_GELU; }

FW_INLINE V HardSwish(V x) {
  const V gate = Vec::Min(Vec::Set(6.0f), Vec::Max(Vec::Set(0.0f), Vec::Add(x, Vec::Set(3.0f))));
  return Vec::Mul(Vec::Mul(x, gate), Vec::Set(1.0f / 6.0f));
}

// 2^x for x from -126 to 0, relative error below 1e-7: 2^n of the nearest whole n, a polynomial for the rest.
FW_INLINE V Exp2(V x) {
  const V n = Vec::Round(x);
  const V f = Vec::Sub(x, n);
  V p = Vec::Set(1.534581242595e-4f);
  p = Vec::Fma(p, f, Vec::Set(1.339993206784e-3f));
  p = Vec::Fma(p, f, Vec::Set(9.618489071727e-3f));
  p = Vec::Fma(p, f, Vec::Set(5.550328642130e-2f));
  p = Vec::Fma(p, f, Vec::Set(2.402264624834e-1f));
  p = Vec::Fma(p, f, Vec::Set(6.931471824646e-1f));
  p = Vec::Fma(p, f, Vec::Set(1.0f));
  return Vec::Scale(p, n);
}

// x (1 + erf(x / sqrt 2)) / 2 = relu(x) - t h(t), t = |x|, h(t) = erfc(t / sqrt 2) / 2. The logarithm of h is nearly a
// parabola: a polynomial of degree 9 on [0, 6] (least maximum error, fitted with the weight t h) leaves an error below
// 4e-8 of the product, 4e-7 of erf, and keeps the tail below zero small relative to itself. Beyond 6 it is below 1e-8.
FW_INLINE V Gelu(V x) {
  const V t = Vec::Min(Vec::Set(6.0f), Vec::Abs(x));
  V q = Vec::Set(2.7302729677e-7f);
  q = Vec::Fma(q, t, Vec::Set(-5.954894731985e-6f));
  q = Vec::Fma(q, t, Vec::Set(5.260685793473e-5f));
  q = Vec::Fma(q, t, Vec::Set(-2.099096745951e-4f));
  q = Vec::Fma(q, t, Vec::Set(-1.296699774684e-4f));
  q = Vec::Fma(q, t, Vec::Set(7.098627742380e-3f));
  q = Vec::Fma(q, t, Vec::Set(-5.254780873657e-2f));
  q = Vec::Fma(q, t, Vec::Set(-4.591799080372e-1f));
  q = Vec::Fma(q, t, Vec::Set(-1.1511114835739f));
  q = Vec::Fma(q, t, Vec::Set(-9.999995827675e-1f));
  return Vec::Sub(Vec::Max(Vec::Set(0.0f), x), Vec::Mul(t, Exp2(q)));
}

FW_INLINE V Activate(V x, int32_t activation) {
  switch (activation) {
    case FW_RELU:
      return Vec::Max(Vec::Set(0.0f), x);
    case FW_RELU6:
      return Vec::Min(Vec::Set(6.0f), Vec::Max(Vec::Set(0.0f), x));
    case FW_HARDSWISH:
      return HardSwish(x);
    case FW_GELU:
      return Gelu(x);
    default:
      return x;
  }
}

// In place on what was just stored and still lies in the nearest cache: activations too long for an unrolled epilogue.
static __attribute__((noinline, unused)) void ActivateRows(float *y, int64_t y_ld, int64_t rows, int64_t columns,
                                                           int32_t activation) {
  for (int64_t row = 0; row < rows; ++row, y += y_ld) {
    int64_t i = 0;
    if (activation == FW_GELU) {
      for (; i + Vec::kLanes <= columns; i += Vec::kLanes) Vec::Store(y + i, Gelu(Vec::Load(y + i)));
    } else {
      for (; i + Vec::kLanes <= columns; i += Vec::kLanes) Vec::Store(y + i, Activate(Vec::Load(y + i), activation));
    }
    if (i < columns) {
      const Vec::Mask mask = Vec::First(columns - i);
      Vec::Store(y + i, Activate(Vec::Load(y + i, mask), activation), mask);
    }
  }
}

}  // namespace
}  // namespace FW_ISA
}  // namespace flyweight
