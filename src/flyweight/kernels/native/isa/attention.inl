// softmax(q k^T scale + mask) v of one head, with the queries along the lanes.
namespace flyweight {
namespace FW_ISA {
namespace {

// Rows of sums held at once: as many as leave room for what they are made of, a power of two.
constexpr int SumRows(int vectors) {
  int rows = 16;
  while (rows > 1 && rows * vectors + vectors + Vec::kFactorRegisters > Vec::kRegisters) rows /= 2;
  return rows;
}

// sum[r][v] = in[0][v] factor(r, 0) + in[1][v] factor(r, 1) + ..., where in[i] lies at i * in_ld and factor(r, i) at
// r * row + i * step.
template <int kRows, int kVectors>
FW_INLINE void Products(const float *in, int64_t in_ld, int64_t count, const float *factors, int64_t row, int64_t step,
                        V (&sum)[kRows][kVectors]) {
  FW_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FW_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Vec::Set(0.0f);
  }
  for (int64_t i = 0; i < count; ++i, in += in_ld, factors += step) {
    V x[kVectors];
    FW_UNROLL
    for (int v = 0; v < kVectors; ++v) x[v] = Vec::Load(in + v * Vec::kLanes);
    FW_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V factor = Vec::Set(factors[r * row]);
      FW_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[r][v] = Vec::Fma(factor, x[v], sum[r][v]);
    }
  }
}

// Scores of the keys from `key` on, and the greatest so far of each query.
template <int kRows, int kVectors>
FW_INLINE int64_t Scores(const AttendCall &call, int64_t key, V (&top)[kVectors]) {
  constexpr int kWidth = kVectors * Vec::kLanes;
  const V scale = Vec::Set(call.scale);
  for (; key + kRows <= call.key_count; key += kRows) {
    V sum[kRows][kVectors];
    Products<kRows, kVectors>(call.queries, call.query_ld, call.size, call.keys + key * call.key_ld, call.key_ld,
                              call.key_step, sum);
    FW_UNROLL
    for (int r = 0; r < kRows; ++r) {
      FW_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        V score = Vec::Mul(sum[r][v], scale);
        if (call.mask != nullptr) {
          const float *const own = call.mask + (key + r) * call.mask_ld + v * Vec::kLanes;
          score = Vec::Add(score, call.mask_ld == 0 ? Vec::Set(call.mask[key + r]) : Vec::Load(own));
        }
        top[v] = Vec::Max(top[v], score);
        Vec::Store(call.scores + (key + r) * kWidth + v * Vec::kLanes, score);
      }
    }
  }
  if constexpr (kRows > 1) key = Scores<kRows / 2, kVectors>(call, key, top);
  return key;
}

// Features from `feature` on of the values' weighted mean.
template <int kRows, int kVectors>
FW_INLINE int64_t Means(const AttendCall &call, int64_t feature, const V (&weight)[kVectors]) {
  constexpr int kWidth = kVectors * Vec::kLanes;
  for (; feature + kRows <= call.size; feature += kRows) {
    V sum[kRows][kVectors];
    Products<kRows, kVectors>(call.scores, kWidth, call.key_count, call.values + feature * call.value_step,
                              call.value_step, call.value_ld, sum);
    FW_UNROLL
    for (int r = 0; r < kRows; ++r) {
      FW_UNROLL
      for (int v = 0; v < kVectors; ++v)
        Vec::Store(call.y + (feature + r) * call.y_ld + v * Vec::kLanes, Vec::Mul(sum[r][v], weight[v]));
    }
  }
  if constexpr (kRows > 1) feature = Means<kRows / 2, kVectors>(call, feature, weight);
  return feature;
}

template <int kVectors>
static void Attend(const AttendCall &call) {
  constexpr int kWidth = kVectors * Vec::kLanes, kRows = SumRows(kVectors);
  V top[kVectors], sum[kVectors];
  FW_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    top[v] = Vec::Set(-__FLT_MAX__);
    sum[v] = Vec::Set(0.0f);
  }
  Scores<kRows, kVectors>(call, 0, top);
  const V log2e = Vec::Set(1.442695040888963f), least = Vec::Set(-126.0f);
  for (int64_t key = 0; key < call.key_count; ++key) {
    FW_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      float *const at = call.scores + key * kWidth + v * Vec::kLanes;
      // The difference comes first: a mask of the least float would overflow if it were scaled.
      const V power = Exp2(Vec::Max(least, Vec::Mul(Vec::Sub(Vec::Load(at), top[v]), log2e)));
      sum[v] = Vec::Add(sum[v], power);
      Vec::Store(at, power);
    }
  }
  V weight[kVectors];
  FW_UNROLL
  for (int v = 0; v < kVectors; ++v) weight[v] = Vec::Set(1.0f) / sum[v];
  Means<kRows, kVectors>(call, 0, weight);
}

}  // namespace
}  // namespace FW_ISA
}  // namespace flyweight
