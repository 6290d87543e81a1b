// The loop of all: a row of blocks times one tile of columns, kept in registers from the first block to the last.
namespace flyweight {
namespace FW_ISA {
namespace {

// How many of a block's rows are made at once: all where the registers hold them, else half of them twice, and so on.
constexpr int RowsAtOnce(int block_rows, int vectors) {
  int rows = block_rows;
  while (rows > 1 && rows * vectors + vectors + Vec::kFactorRegisters > Vec::kRegisters) rows /= 2;
  return rows;
}

// Tiles that would fall below four rows at once (or below the block's) read x too often to be worth their code.
constexpr bool Fits(int block_rows, int vectors) {
  const int least = block_rows < 4 ? block_rows : 4;
  return vectors <= kMaxVectors && RowsAtOnce(block_rows, vectors) >= least &&
         RowsAtOnce(block_rows, vectors) * vectors + vectors + Vec::kFactorRegisters <= Vec::kRegisters;
}

// What a tile's loop knows from its beginning.
template <int kBlockRows, int kVectors, bool kPadded>
struct SpmmLoop {
  static constexpr int kRows = RowsAtOnce(kBlockRows, kVectors);
  static constexpr int kLanes = Vec::kLanes;
  // A sum waits four cycles for the product before it, while two could begin in each: with fewer than eight sums, two
  // block rows go side by side.
  static constexpr bool kPairs = kRows == kBlockRows && kRows * kVectors < 8 &&
                                 2 * (kRows * kVectors + kVectors) + Vec::kFactorRegisters <= Vec::kRegisters;

  const SpmmCall &call;
  Vec::Mask mask;
  Bounds bounds;

  // The rows of one block row that are summed at once: what is left of its blocks, and the sums so far.
  struct Row {
    const float *w;
    const int32_t *offset, *end;
    V sum[kRows][kVectors];
  };

  inline __attribute__((always_inline)) void Begin(int64_t i, int part, Row &row) const {
    row.w = call.values + call.starts[i] * kBlockRows + part;
    row.offset = call.offsets + call.starts[i];
    row.end = call.offsets + call.ends[i];
    if (call.bias == nullptr) {
      Resume(i, part, row);
      return;
    }
    const float *const bias = call.bias + i * kBlockRows + part;
    FW_UNROLL
    for (int r = 0; r < kRows; ++r) {
      FW_UNROLL
      for (int v = 0; v < kVectors; ++v) row.sum[r][v] = Vec::Set(bias[r]);
    }
  }

  inline __attribute__((always_inline)) void Resume(int64_t i, int part, Row &row) const {
    const int64_t first = (i - call.first) * kBlockRows + part;
    const float *const y = call.y + first * call.y_ld;
    FW_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const bool there = r < call.rows - first;
      FW_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const Vec::Mask all = v + 1 < kVectors ? Vec::First(kLanes) : mask;
        row.sum[r][v] = there ? Vec::Load(y + r * call.y_ld + v * kLanes, all) : Vec::Set(0.0f);
      }
    }
  }

  inline __attribute__((always_inline)) void Step(const float *x, Row &row) const {
    const float *const from = x + *row.offset;
    V in[kVectors];
    FW_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (kPadded || v + 1 < kVectors)
        in[v] = Vec::Load(from + v * kLanes);
      else
        in[v] = Vec::Load(from + v * kLanes, mask);
    }
    FW_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V factor = Vec::Set(row.w[r]);
      FW_UNROLL
      for (int v = 0; v < kVectors; ++v) row.sum[r][v] = Vec::Fma(factor, in[v], row.sum[r][v]);
    }
    ++row.offset;
    row.w += kBlockRows;
  }

  inline __attribute__((always_inline)) void Finish(int64_t i, int part, Row &row) const {
    const int64_t first = (i - call.first) * kBlockRows + part;
    const int64_t left = call.rows - first;
    float *const y = call.y + first * call.y_ld;
    const V low = Vec::Set(bounds.low), high = Vec::Set(bounds.high);
    constexpr int kLast = (kVectors - 1) * kLanes;
    if (call.residual != nullptr) {
      const float *const residual = call.residual + first * call.residual_ld;
      FW_UNROLL
      for (int r = 0; r < kRows; ++r) {
        if (r >= left) continue;
        const float *const from = residual + r * call.residual_ld;
        FW_UNROLL
        for (int v = 0; v + 1 < kVectors; ++v) row.sum[r][v] = Vec::Add(row.sum[r][v], Vec::Load(from + v * kLanes));
        row.sum[r][kVectors - 1] = Vec::Add(row.sum[r][kVectors - 1], Vec::Load(from + kLast, mask));
      }
    }
    FW_UNROLL
    for (int r = 0; r < kRows; ++r) {
      if (r >= left) continue;
      float *const to = y + r * call.y_ld;
      FW_UNROLL
      for (int v = 0; v + 1 < kVectors; ++v) Vec::Store(to + v * kLanes, Vec::Min(high, Vec::Max(low, row.sum[r][v])));
      Vec::Store(to + kLast, Vec::Min(high, Vec::Max(low, row.sum[r][kVectors - 1])), mask);
    }
    if (!IsClamp(call.activation) && left > 0)
      ActivateRows(y, call.y_ld, left < kRows ? left : kRows, call.columns, call.activation);
  }
};

template <int kBlockRows, int kVectors, bool kPadded>
static void SpmmTile(const SpmmCall &call) {
  typedef SpmmLoop<kBlockRows, kVectors, kPadded> Loop;
  const Loop loop = {call, Vec::First(call.columns - (kVectors - 1) * Vec::kLanes), ClampOf(call.activation)};
  const float *const x = call.x;
  int64_t i = call.first;
  if constexpr (Loop::kPairs) {
    for (; i + 1 < call.last; i += 2) {
      typename Loop::Row even, odd;
      loop.Begin(i, 0, even);
      loop.Begin(i + 1, 0, odd);
      while (even.offset != even.end && odd.offset != odd.end) {
        loop.Step(x, even);
        loop.Step(x, odd);
      }
      while (even.offset != even.end) loop.Step(x, even);
      while (odd.offset != odd.end) loop.Step(x, odd);
      loop.Finish(i, 0, even);
      loop.Finish(i + 1, 0, odd);
    }
  }
  for (; i < call.last; ++i) {
    for (int part = 0; part < kBlockRows; part += Loop::kRows) {
      typename Loop::Row row;
      loop.Begin(i, part, row);
      while (row.offset != row.end) loop.Step(x, row);
      loop.Finish(i, part, row);
    }
  }
}

template <int kBlockRows, int kVectors>
FW_INLINE SpmmKernel SpmmOf(bool padded) {
  if constexpr (Fits(kBlockRows, kVectors)) {
    return padded ? SpmmTile<kBlockRows, kVectors, true> : SpmmTile<kBlockRows, kVectors, false>;
  } else {
    return nullptr;
  }
}

template <int kBlockRows>
static SpmmKernel SpmmOfRows(int vectors, bool padded) {
  switch (vectors) {
    case 1:
      return SpmmOf<kBlockRows, 1>(padded);
    case 2:
      return SpmmOf<kBlockRows, 2>(padded);
    case 3:
      return SpmmOf<kBlockRows, 3>(padded);
    case 4:
      return SpmmOf<kBlockRows, 4>(padded);
    case 5:
      return SpmmOf<kBlockRows, 5>(padded);
    case 6:
      return SpmmOf<kBlockRows, 6>(padded);
    case 7:
      return SpmmOf<kBlockRows, 7>(padded);
    case 8:
      return SpmmOf<kBlockRows, 8>(padded);
    default:
      return nullptr;
  }
}

static SpmmKernel FindSpmm(int block_rows, int vectors, bool padded) {
  switch (block_rows) {
    case 1:
      return SpmmOfRows<1>(vectors, padded);
    case 2:
      return SpmmOfRows<2>(vectors, padded);
    case 4:
      return SpmmOfRows<4>(vectors, padded);
    case 8:
      return SpmmOfRows<8>(vectors, padded);
    case 16:
      return SpmmOfRows<16>(vectors, padded);
    default:
      return nullptr;
  }
}

}  // namespace
}  // namespace FW_ISA
}  // namespace flyweight
