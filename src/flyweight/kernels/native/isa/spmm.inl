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

template <int kBlockRows, int kVectors, bool kPadded>
static void SpmmTile(const SpmmCall &call) {
  constexpr int kRows = RowsAtOnce(kBlockRows, kVectors);
  constexpr int kLanes = Vec::kLanes;
  const Vec::Mask mask = Vec::First(call.columns - (kVectors - 1) * kLanes);
  const Bounds bounds = ClampOf(call.activation);
  const float *const x = call.x;
  for (int64_t i = call.first; i < call.last; ++i) {
    for (int part = 0; part < kBlockRows; part += kRows) {
      const float *w = call.values + call.starts[i] * kBlockRows + part;
      const int32_t *offset = call.offsets + call.starts[i];
      const int32_t *const end = call.offsets + call.starts[i + 1];
      const float *const bias = call.bias + i * kBlockRows + part;
      V sum[kRows][kVectors];
      FW_UNROLL
      for (int r = 0; r < kRows; ++r) {
        FW_UNROLL
        for (int v = 0; v < kVectors; ++v) sum[r][v] = Vec::Set(bias[r]);
      }
      for (; offset != end; ++offset, w += kBlockRows) {
        const float *const from = x + *offset;
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
          const V factor = Vec::Set(w[r]);
          FW_UNROLL
          for (int v = 0; v < kVectors; ++v) sum[r][v] = Vec::Fma(factor, in[v], sum[r][v]);
        }
      }
      const int64_t row = (i - call.first) * kBlockRows + part;
      const int64_t left = call.rows - row;
      float *y = call.y + row * call.y_ld;
      const V low = Vec::Set(bounds.low), high = Vec::Set(bounds.high);
      if (call.residual != nullptr) {
        const float *residual = call.residual + row * call.residual_ld;
        FW_UNROLL
        for (int r = 0; r < kRows; ++r) {
          if (r < left) {
            FW_UNROLL
            for (int v = 0; v + 1 < kVectors; ++v)
              sum[r][v] = Vec::Add(sum[r][v], Vec::Load(residual + r * call.residual_ld + v * kLanes));
            sum[r][kVectors - 1] = Vec::Add(
                sum[r][kVectors - 1], Vec::Load(residual + r * call.residual_ld + (kVectors - 1) * kLanes, mask));
          }
        }
      }
      FW_UNROLL
      for (int r = 0; r < kRows; ++r) {
        if (r < left) {
          FW_UNROLL
          for (int v = 0; v + 1 < kVectors; ++v)
            Vec::Store(y + r * call.y_ld + v * kLanes, Vec::Min(high, Vec::Max(low, sum[r][v])));
          Vec::Store(y + r * call.y_ld + (kVectors - 1) * kLanes,
                     Vec::Min(high, Vec::Max(low, sum[r][kVectors - 1])), mask);
        }
      }
      if (!IsClamp(call.activation) && left > 0)
        ActivateRows(y, call.y_ld, left < kRows ? left : kRows, call.columns, call.activation);
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
