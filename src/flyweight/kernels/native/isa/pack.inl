// Bringing inputs to where the loops read them, and token-major results back.
namespace flyweight {
namespace FW_ISA {
namespace {

// out(i, v) for each column i of a square of lanes x lanes; v holds that column, row after row.
template <class Out>
FW_INLINE void Transpose(const float *x, int64_t x_ld, const Out &out) {
  FW_UNROLL
  for (int c = 0; c < Vec::kLanes / 4; ++c) {
    const V a = Vec::LoadLanes(x + 4 * c, x_ld), b = Vec::LoadLanes(x + x_ld + 4 * c, x_ld);
    const V d = Vec::LoadLanes(x + 2 * x_ld + 4 * c, x_ld), e = Vec::LoadLanes(x + 3 * x_ld + 4 * c, x_ld);
    const V ab_low = Vec::UnpackLow(a, b), ab_high = Vec::UnpackHigh(a, b);
    const V de_low = Vec::UnpackLow(d, e), de_high = Vec::UnpackHigh(d, e);
    out(4 * c, Vec::PairLow(ab_low, de_low));
    out(4 * c + 1, Vec::PairHigh(ab_low, de_low));
    out(4 * c + 2, Vec::PairLow(ab_high, de_high));
    out(4 * c + 3, Vec::PairHigh(ab_high, de_high));
  }
}

static void PackRows(const float *x, int64_t x_ld, int64_t count, int64_t columns, float *panel, int64_t panel_ld) {
  constexpr int kLanes = Vec::kLanes;
  const int64_t whole = columns / kLanes * kLanes;
  const Vec::Mask mask = Vec::First(columns - whole);
  for (int64_t row = 0; row < count; ++row, x += x_ld, panel += panel_ld) {
    for (int64_t i = 0; i < whole; i += kLanes) Vec::Store(panel + i, Vec::Load(x + i));
    if (whole < columns) Vec::Store(panel + whole, Vec::Load(x + whole, mask));
  }
}

static void PackTokens(const float *x, int64_t x_ld, int64_t inputs, int64_t tokens, float *panel, int64_t panel_ld) {
  constexpr int kLanes = Vec::kLanes;
  for (int64_t t = 0; t < tokens; t += kLanes) {
    const int64_t rows = tokens - t < kLanes ? tokens - t : kLanes;
    for (int64_t i = 0; i < inputs; i += kLanes) {
      float *const to = panel + i * panel_ld + t;
      const int64_t columns = inputs - i < kLanes ? inputs - i : kLanes;
      if (rows == kLanes && columns == kLanes) {
        Transpose(x + t * x_ld + i, x_ld,
                  [&](int c, V v) __attribute__((always_inline)) { Vec::Store(to + c * panel_ld, v); });
        continue;
      }
      // The edge goes through a square of its own, so that nothing beyond x is read.
      float square[kLanes * kLanes];
      for (int64_t r = 0; r < kLanes; ++r) {
        if (r < rows)
          Vec::Store(square + r * kLanes, Vec::Load(x + (t + r) * x_ld + i, Vec::First(columns)));
        else
          Vec::Store(square + r * kLanes, Vec::Set(0.0f));
      }
      Transpose(square, kLanes, [&](int c, V v) __attribute__((always_inline)) {
        if (c < columns) Vec::Store(to + c * panel_ld, v);
      });
    }
  }
}

template <bool kWhole>
FW_INLINE void StoreSquare(const float *tile, int64_t tile_ld, int64_t tokens, Vec::Mask mask, const float *residual,
                           int64_t residual_ld, float *y, int64_t y_ld, int32_t activation) {
  Transpose(tile, tile_ld, [&](int c, V v) __attribute__((always_inline)) {
    if (!kWhole && c >= tokens) return;
    if (residual != nullptr) {
      const float *const from = residual + c * residual_ld;
      v = Vec::Add(v, kWhole ? Vec::Load(from) : Vec::Load(from, mask));
    }
    if (activation == FW_RELU) v = Vec::Max(Vec::Set(0.0f), v);
    if (kWhole)
      Vec::Store(y + c * y_ld, v);
    else
      Vec::Store(y + c * y_ld, v, mask);
  });
}

static void StoreTokens(const float *tile, int64_t tile_ld, int64_t rows, int64_t tokens, const float *residual,
                        int64_t residual_ld, float *y, int64_t y_ld, int32_t activation) {
  constexpr int kLanes = Vec::kLanes;
  for (int64_t t = 0; t < tokens; t += kLanes) {
    const int64_t count = tokens - t < kLanes ? tokens - t : kLanes;
    for (int64_t r = 0; r < rows; r += kLanes) {
      const int64_t wide = rows - r < kLanes ? rows - r : kLanes;
      const float *const from = tile + r * tile_ld + t;
      const float *const more = residual == nullptr ? nullptr : residual + t * residual_ld + r;
      float *const to = y + t * y_ld + r;
      if (count == kLanes && wide == kLanes)
        StoreSquare<true>(from, tile_ld, count, Vec::First(wide), more, residual_ld, to, y_ld, activation);
      else
        StoreSquare<false>(from, tile_ld, count, Vec::First(wide), more, residual_ld, to, y_ld, activation);
      if (activation != FW_NONE && activation != FW_RELU) ActivateRows(to, y_ld, count, wide, activation);
    }
  }
}

}  // namespace
}  // namespace FW_ISA
}  // namespace flyweight
