// Layer normalization of a row or of a vector of columns: the mean first, then the squares of what differs from it.
namespace flyweight {
namespace FW_ISA {
namespace {

FW_INLINE float Across(V v) {
  float lanes[Vec::kLanes];
  Vec::Store(lanes, v);
  FW_UNROLL
  for (int width = Vec::kLanes / 2; width > 0; width /= 2) {
    FW_UNROLL
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

// The sum of term(vector) over a row; sums of their own for four vectors, so that none waits for the one before.
template <class Term>
FW_INLINE float RowSum(const float *x, int64_t size, const Term &term) {
  constexpr int kLanes = Vec::kLanes, kSums = 4;
  V sum[kSums];
  FW_UNROLL
  for (int k = 0; k < kSums; ++k) sum[k] = Vec::Set(0.0f);
  int64_t i = 0;
  for (; i + kSums * kLanes <= size; i += kSums * kLanes) {
    FW_UNROLL
    for (int k = 0; k < kSums; ++k) sum[k] = Vec::Add(sum[k], term(Vec::Load(x + i + k * kLanes)));
  }
  for (; i + kLanes <= size; i += kLanes) sum[0] = Vec::Add(sum[0], term(Vec::Load(x + i)));
  float total = Across(Vec::Add(Vec::Add(sum[0], sum[1]), Vec::Add(sum[2], sum[3])));
  if (i < size) {
    float lanes[kLanes];
    Vec::Store(lanes, term(Vec::Load(x + i, Vec::First(size - i))));
    for (int64_t k = 0; k < size - i; ++k) total += lanes[k];
  }
  return total;
}

static void Normalize(const float *x, int64_t rows, int64_t size, const float *gain, const float *bias, float epsilon,
                      float *y) {
  constexpr int kLanes = Vec::kLanes;
  const float share = 1.0f / static_cast<float>(size);
  const int64_t whole = size / kLanes * kLanes;
  const Vec::Mask mask = Vec::First(size - whole);
  for (int64_t row = 0; row < rows; ++row, x += size, y += size) {
    const V mean = Vec::Set(share * RowSum(x, size, [](V v) __attribute__((always_inline)) { return v; }));
    const float variance = share * RowSum(x, size, [&](V v) __attribute__((always_inline)) {
      const V d = Vec::Sub(v, mean);
      return Vec::Mul(d, d);
    });
    const V factor = Vec::Set(1.0f / __builtin_sqrtf(variance + epsilon));
    int64_t i = 0;
    for (; i < whole; i += kLanes) {
      const V scaled = Vec::Mul(Vec::Mul(Vec::Sub(Vec::Load(x + i), mean), factor), Vec::Load(gain + i));
      Vec::Store(y + i, bias == nullptr ? scaled : Vec::Add(scaled, Vec::Load(bias + i)));
    }
    if (i < size) {
      const V scaled = Vec::Mul(Vec::Mul(Vec::Sub(Vec::Load(x + i, mask), mean), factor), Vec::Load(gain + i, mask));
      Vec::Store(y + i, bias == nullptr ? scaled : Vec::Add(scaled, Vec::Load(bias + i, mask)), mask);
    }
  }
}

// The sum of term(vector) over the rows of one vector of columns, four sums side by side.
template <class Term>
FW_INLINE V ColumnSum(const float *x, int64_t ld, int64_t size, Vec::Mask mask, const Term &term) {
  constexpr int kSums = 4;
  V sum[kSums];
  FW_UNROLL
  for (int k = 0; k < kSums; ++k) sum[k] = Vec::Set(0.0f);
  int64_t i = 0;
  for (; i + kSums <= size; i += kSums, x += kSums * ld) {
    FW_UNROLL
    for (int k = 0; k < kSums; ++k) sum[k] = Vec::Add(sum[k], term(Vec::Load(x + k * ld, mask)));
  }
  for (; i < size; ++i, x += ld) sum[0] = Vec::Add(sum[0], term(Vec::Load(x, mask)));
  return Vec::Add(Vec::Add(sum[0], sum[1]), Vec::Add(sum[2], sum[3]));
}

static void NormalizeColumns(const float *x, int64_t ld, int64_t size, int64_t columns, int64_t first, int64_t last,
                             const float *gain, const float *bias, float epsilon, float *y) {
  constexpr int kLanes = Vec::kLanes;
  const V share = Vec::Set(1.0f / static_cast<float>(size));
  for (int64_t column = 0; column < columns; column += kLanes) {
    const Vec::Mask mask = Vec::First(columns - column);
    const float *const from = x + column;
    const V mean =
        Vec::Mul(share, ColumnSum(from, ld, size, mask, [](V v) __attribute__((always_inline)) { return v; }));
    const V variance = Vec::Mul(share, ColumnSum(from, ld, size, mask, [&](V v) __attribute__((always_inline)) {
      const V d = Vec::Sub(v, mean);
      return Vec::Mul(d, d);
    }));
    float lanes[kLanes];
    Vec::Store(lanes, Vec::Add(variance, Vec::Set(epsilon)));
    FW_UNROLL
    for (int i = 0; i < kLanes; ++i) lanes[i] = 1.0f / __builtin_sqrtf(lanes[i]);
    const V factor = Vec::Load(lanes);
    for (int64_t row = first; row < last; ++row) {
      const V d = Vec::Mul(Vec::Sub(Vec::Load(from + row * ld, mask), mean), factor);
      const V scaled = Vec::Mul(d, Vec::Set(gain[row]));
      Vec::Store(y + row * ld + column, bias == nullptr ? scaled : Vec::Add(scaled, Vec::Set(bias[row])), mask);
    }
  }
}

}  // namespace
}  // namespace FW_ISA
}  // namespace flyweight
