// A few tokens: lanes run along a block's rows, a weight is loaded as it lies and an input is repeated.
namespace flyweight {
namespace FW_ISA {
namespace {

// kBlockRows floats as one value: a vector of the compiler's where the machine has that width, some of them else.
template <int kBlockRows, bool kWide = (kBlockRows >= Vec::kLanes)>
struct Lanes {
  static constexpr int kParts = kBlockRows / Vec::kLanes;
  V part[kParts];
  FW_INLINE Lanes Load(const float *p) {
    Lanes made;
    FW_UNROLL
    for (int i = 0; i < kParts; ++i) made.part[i] = Vec::Load(p + i * Vec::kLanes);
    return made;
  }
  FW_INLINE Lanes Zero() {
    Lanes made;
    FW_UNROLL
    for (int i = 0; i < kParts; ++i) made.part[i] = Vec::Set(0.0f);
    return made;
  }
  inline __attribute__((always_inline)) void AddProduct(const Lanes &w, float x) {
    FW_UNROLL
    for (int i = 0; i < kParts; ++i) part[i] = Vec::Fma(w.part[i], Vec::Set(x), part[i]);
  }
  inline __attribute__((always_inline)) void Add(const Lanes &other) {
    FW_UNROLL
    for (int i = 0; i < kParts; ++i) part[i] = Vec::Add(part[i], other.part[i]);
  }
  inline __attribute__((always_inline)) void Store(float *p) const {
    FW_UNROLL
    for (int i = 0; i < kParts; ++i) Vec::Store(p + i * Vec::kLanes, part[i]);
  }
};

template <int kBlockRows>
struct Lanes<kBlockRows, false> {
  typedef float Narrow __attribute__((vector_size(kBlockRows * 4)));
  Narrow all;
  FW_INLINE Lanes Load(const float *p) {
    Lanes made;
    __builtin_memcpy(&made.all, p, sizeof made.all);
    return made;
  }
  FW_INLINE Lanes Zero() { return {Narrow{}}; }
  inline __attribute__((always_inline)) void AddProduct(const Lanes &w, float x) { all += w.all * x; }
  inline __attribute__((always_inline)) void Add(const Lanes &other) { all += other.all; }
  inline __attribute__((always_inline)) void Store(float *p) const { __builtin_memcpy(p, &all, sizeof all); }
};

// kTokens of them in one pass over the weights. Even and odd blocks have sums of their own, so that a multiplication
// need not wait for the one before.
template <int kBlockRows, int kTokens>
static void GemvTokens(const GemvCall &call, int64_t token) {
  typedef Lanes<kBlockRows> L;
  const float *const x = call.x + token * call.x_ld;
  for (int64_t i = call.first; i < call.last; ++i) {
    L even[kTokens], odd[kTokens];
    FW_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      even[t] = L::Load(call.bias + i * kBlockRows);
      odd[t] = L::Zero();
    }
    const float *w = call.values + call.starts[i] * kBlockRows;
    const int32_t *column = call.columns + call.starts[i];
    const int32_t *const end = call.columns + call.starts[i + 1];
    for (; column + 1 < end; column += 2, w += 2 * kBlockRows) {
      const L first = L::Load(w), second = L::Load(w + kBlockRows);
      FW_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        even[t].AddProduct(first, x[t * call.x_ld + column[0]]);
        odd[t].AddProduct(second, x[t * call.x_ld + column[1]]);
      }
    }
    if (column < end) {
      const L last = L::Load(w);
      FW_UNROLL
      for (int t = 0; t < kTokens; ++t) even[t].AddProduct(last, x[t * call.x_ld + column[0]]);
    }
    const int64_t row = i * kBlockRows;
    const int64_t left = call.rows - row;
    for (int t = 0; t < kTokens; ++t) {
      even[t].Add(odd[t]);
      float *const y = call.y + (token + t) * call.y_ld + row;
      if (left >= kBlockRows) {
        even[t].Store(y);
      } else {
        float whole[kBlockRows];
        even[t].Store(whole);
        for (int64_t r = 0; r < left; ++r) y[r] = whole[r];
      }
    }
  }
}

// Rows that stand alone have no lanes to fill: numbers one by one, in four sums.
static void GemvNumbers(const GemvCall &call, int64_t token) {
  const float *const x = call.x + token * call.x_ld;
  for (int64_t i = call.first; i < call.last; ++i) {
    float sum[4] = {call.bias[i], 0.0f, 0.0f, 0.0f};
    int64_t b = call.starts[i];
    for (; b + 4 <= call.starts[i + 1]; b += 4) {
      FW_UNROLL
      for (int k = 0; k < 4; ++k) sum[k] += call.values[b + k] * x[call.columns[b + k]];
    }
    for (; b < call.starts[i + 1]; ++b) sum[0] += call.values[b] * x[call.columns[b]];
    call.y[token * call.y_ld + i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

template <int kBlockRows>
static void Gemv(const GemvCall &call) {
  int64_t token = 0;
  if constexpr (kBlockRows == 1) {
    for (; token < call.tokens; ++token) GemvNumbers(call, token);
  } else {
    for (; token + 4 <= call.tokens; token += 4) GemvTokens<kBlockRows, 4>(call, token);
    for (; token + 2 <= call.tokens; token += 2) GemvTokens<kBlockRows, 2>(call, token);
    for (; token < call.tokens; ++token) GemvTokens<kBlockRows, 1>(call, token);
  }
  const int64_t first = call.first * kBlockRows;
  const int64_t end = call.last * kBlockRows < call.rows ? call.last * kBlockRows : call.rows;
  if (call.residual != nullptr) {
    for (int64_t t = 0; t < call.tokens; ++t)
      for (int64_t r = first; r < end; ++r) call.y[t * call.y_ld + r] += call.residual[t * call.y_ld + r];
  }
  if (call.activation != FW_NONE) ActivateRows(call.y + first, call.y_ld, call.tokens, end - first, call.activation);
}

static GemvKernel FindGemv(int block_rows) {
  switch (block_rows) {
    case 1:
      return Gemv<1>;
    case 2:
      return Gemv<2>;
    case 4:
      return Gemv<4>;
    case 8:
      return Gemv<8>;
    case 16:
      return Gemv<16>;
    default:
      return nullptr;
  }
}

}  // namespace
}  // namespace FW_ISA
}  // namespace flyweight
