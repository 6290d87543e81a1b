// Depthwise convolution, lanes along a row of the result. Needs vector_*.inl and activation.inl before it.
//
// Nothing is copied or padded: rows above and below the plane are a row of zeros, and columns beside it are left out of
// the loads by masks, which only the outer vectors of a row need. Several rows of the result are made together, so that
// what is loaded of a row of x (once for each tap's column) serves all of them.
namespace flyweight {
namespace FW_ISA {
namespace {

// Each row is one chain of additions, and it takes eight of them to hide the latency of one. (Seven divides the usual
// heights 7, 14, 28, 56 and 112.)
constexpr int kMostRows = Vec::kRegisters == 32 ? 7 : 4;
constexpr int kMostEdges = 8;

// One vector of results of which some lanes lie beyond the row, or some taps beyond the plane.
template <int kKernel>
struct DepthwiseEdge {
  int64_t column;  // of the result, at lane 0
  Vec::Mask result;
  bool first;  // whether the first tap of lane 0 lies in the plane
  Vec::Mask load[kKernel + 1];
  Vec::Mask tap[kKernel];
};

// The vectors of a row: edges, then [inner, inner_end) without any masks, columns of the result.
template <int kKernel>
struct DepthwiseColumns {
  int edges = 0;
  int64_t inner = 0, inner_end = 0;
  DepthwiseEdge<kKernel> edge[kMostEdges];
};

// Rounded up.
constexpr int64_t CeilDivide(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : a / b; }

// Three taps at a stride of two: loaded from the second one on, even places are that tap's and odd ones the third's;
// the first's are those of the third moved by one lane.
constexpr bool IsShifted(int kernel, int stride) { return kernel == 3 && stride == 2; }

// Where the loads of a vector of results begin, from its first tap on, and how many there are.
constexpr int LoadBegin(int kernel, int stride, int load) {
  return stride == 1 ? load : load / 2 * 2 + load % 2 * Vec::kLanes + (IsShifted(kernel, stride) ? 1 : 0);
}
constexpr int Loads(int kernel, int stride) {
  return stride == 1 ? kernel : IsShifted(kernel, stride) ? 2 : (kernel + 1) / 2 * 2;
}

// False where there are more edges than are kept: padding as wide as many vectors.
template <int kKernel, int kStride>
static bool PlanColumns(const DepthwiseCall &call, DepthwiseColumns<kKernel> *plan) {
  constexpr int kLoads = Loads(kKernel, kStride);
  for (int64_t column = 0; column < call.out_width; column += Vec::kLanes) {
    const int64_t at = column * kStride - call.pad_left;
    const int64_t end = at + LoadBegin(kKernel, kStride, kLoads - 1) + Vec::kLanes;
    if (at >= 0 && end <= call.width && column + Vec::kLanes <= call.out_width) {
      if (plan->inner == plan->inner_end) plan->inner = column;
      plan->inner_end = column + Vec::kLanes;
      continue;
    }
    if (plan->edges == kMostEdges) return false;
    DepthwiseEdge<kKernel> &edge = plan->edge[plan->edges++];
    edge.column = column;
    edge.result = Vec::First(call.out_width - column);
    edge.first = at >= 0 && at < call.width;
    for (int load = 0; load < kLoads; ++load) {
      const int64_t from = at + LoadBegin(kKernel, kStride, load);
      edge.load[load] = Vec::Between(-from, call.width - from);
    }
    for (int tap = 0; tap < kKernel; ++tap)
      edge.tap[tap] = Vec::Between(CeilDivide(-at - tap, kStride), CeilDivide(call.width - at - tap, kStride));
  }
  return true;
}

// What the taps of one row of x meet. With a stride of two, two loads are taken apart into even and odd places for two
// taps.
template <int kKernel, int kStride, bool kEdge, bool kLoose>
FW_INLINE void LoadTaps(const float *x, const DepthwiseEdge<kKernel> *edge, V (&in)[kKernel]) {
  constexpr int kLoads = Loads(kKernel, kStride);
  V loaded[kLoads];
  FW_UNROLL
  for (int i = 0; i < kLoads; ++i) {
    const float *const from = x + LoadBegin(kKernel, kStride, i);
    loaded[i] = Vec::Keep(kEdge && !kLoose ? Vec::Load(from, edge->load[i]) : Vec::Load(from));
  }
  if constexpr (kStride == 1) {
    FW_UNROLL
    for (int t = 0; t < kKernel; ++t) in[t] = loaded[t];
  } else if constexpr (IsShifted(kKernel, kStride)) {
    in[1] = Vec::Even(loaded[0], loaded[1]);
    in[2] = Vec::Odd(loaded[0], loaded[1]);
    in[0] = Vec::ShiftIn(!kEdge || edge->first ? *x : 0.0f, in[2]);
  } else {
    FW_UNROLL
    for (int t = 0; t < kKernel; ++t)
      in[t] = t % 2 == 0 ? Vec::Even(loaded[t], loaded[t + 1]) : Vec::Odd(loaded[t - 1], loaded[t]);
  }
}

// Rows of x, one after the other: a pointer that goes on from row to row, or one for each where some are not there.
struct EvenRows {
  const float *row;
  int64_t ld;
  FW_INLINE const float *Next(EvenRows &rows) {
    const float *const row = rows.row;
    rows.row += rows.ld;
    return row;
  }
};
struct AnyRows {
  const float *const *row;
  int64_t column;
  FW_INLINE const float *Next(AnyRows &rows) { return *rows.row++ + rows.column; }
};

// What all tiles of a plane share.
template <int kKernel>
struct DepthwiseValues {
  V weight[kKernel * kKernel];
  V bias, low, high;
};

template <int kKernel, int kStride, int kRows, bool kEdge, bool kLoose, class Rows>
FW_INLINE void DepthwiseTile(Rows rows, const DepthwiseEdge<kKernel> *edge, const DepthwiseValues<kKernel> &values,
                             float *y, int64_t y_ld) {
  V sum[kRows];
  FW_UNROLL
  for (int k = 0; k < kRows; ++k) sum[k] = values.bias;
  FW_UNROLL
  for (int r = 0; r < (kRows - 1) * kStride + kKernel; ++r) {
    V in[kKernel];
    LoadTaps<kKernel, kStride, kEdge, kLoose>(Rows::Next(rows), edge, in);
    FW_UNROLL
    for (int k = 0; k < kRows; ++k) {
      const int tap = r - k * kStride;
      if (tap < 0 || tap >= kKernel) continue;
      FW_UNROLL
      for (int t = 0; t < kKernel; ++t) {
        if constexpr (kEdge && kLoose)
          sum[k] = Vec::Fma(values.weight[tap * kKernel + t], in[t], sum[k], edge->tap[t]);
        else
          sum[k] = Vec::Fma(values.weight[tap * kKernel + t], in[t], sum[k]);
      }
    }
  }
  FW_UNROLL
  for (int k = 0; k < kRows; ++k, y += y_ld) {
    const V made = Vec::Min(values.high, Vec::Max(values.low, sum[k]));
    if (kEdge)
      Vec::Store(y, made, edge->result);
    else
      Vec::Store(y, made);
  }
}

template <int kKernel>
FW_INLINE void SetValues(const DepthwiseCall &call, int64_t channel, DepthwiseValues<kKernel> *values) {
  const Bounds bounds = ClampOf(call.activation);
  FW_UNROLL
  for (int t = 0; t < kKernel * kKernel; ++t)
    values->weight[t] = Vec::Set(call.weight[channel * kKernel * kKernel + t]);
  values->bias = Vec::Set(call.bias[channel]);
  values->low = Vec::Set(bounds.low);
  values->high = Vec::Set(bounds.high);
}

// `runs` times kRows rows of one plane, from `row` on; all rows of x that they meet are there. Not inlined, for in the
// loop over channels the compiler would keep, and spill, an address for each number that a channel has.
template <int kKernel, int kStride, int kRows, bool kLoose>
static __attribute__((noinline)) void DepthwiseInside(const DepthwiseCall &call, const DepthwiseColumns<kKernel> &plan,
                                                      int64_t channel, int64_t row, int64_t runs) {
  DepthwiseValues<kKernel> values;
  SetValues(call, channel, &values);
  const int64_t ld = call.width, y_ld = call.y_ld, inner = plan.inner, inner_end = plan.inner_end;
  const int edges = plan.edges;
  const float *x = call.x + channel * call.x_plane + (row * kStride - call.pad_top - call.x_first) * ld - call.pad_left;
  float *y = call.y + channel * call.y_plane + (row - call.first) * y_ld;
  for (; runs > 0; --runs, x += kRows * kStride * ld, y += kRows * y_ld) {
    for (int64_t column = inner; column < inner_end; column += Vec::kLanes)
      DepthwiseTile<kKernel, kStride, kRows, false, kLoose>(EvenRows{x + column * kStride, ld}, nullptr, values,
                                                            y + column, y_ld);
    for (const DepthwiseEdge<kKernel> *edge = plan.edge; edge < plan.edge + edges; ++edge)
      DepthwiseTile<kKernel, kStride, kRows, true, kLoose>(EvenRows{x + edge->column * kStride, ld}, edge, values,
                                                           y + edge->column, y_ld);
    if (!IsClamp(call.activation)) ActivateRows(y, y_ld, kRows, call.out_width, call.activation);
  }
}

// kRows rows of one plane, some of which meet rows of x that are not there.
template <int kKernel, int kStride, int kRows>
static __attribute__((noinline)) void DepthwiseAcross(const DepthwiseCall &call, const DepthwiseColumns<kKernel> &plan,
                                                      int64_t channel, int64_t row) {
  constexpr int kInputs = (kRows - 1) * kStride + kKernel;
  DepthwiseValues<kKernel> values;
  SetValues(call, channel, &values);
  const float *rows[kInputs];
  for (int r = 0; r < kInputs; ++r) {
    const int64_t from = row * kStride - call.pad_top + r - call.x_first;
    const bool there = from >= 0 && from < call.x_last - call.x_first;
    rows[r] = (there ? call.x + channel * call.x_plane + from * call.width : call.zeros) - call.pad_left;
  }
  float *const y = call.y + channel * call.y_plane + (row - call.first) * call.y_ld;
  for (int64_t column = plan.inner; column < plan.inner_end; column += Vec::kLanes)
    DepthwiseTile<kKernel, kStride, kRows, false, false>(AnyRows{rows, column * kStride}, nullptr, values, y + column,
                                                         call.y_ld);
  for (const DepthwiseEdge<kKernel> *edge = plan.edge; edge < plan.edge + plan.edges; ++edge)
    DepthwiseTile<kKernel, kStride, kRows, true, false>(AnyRows{rows, edge->column * kStride}, edge, values,
                                                        y + edge->column, call.y_ld);
  if (!IsClamp(call.activation)) ActivateRows(y, call.y_ld, kRows, call.out_width, call.activation);
}

// As many whole runs of kRows rows as there are; gives the row after them.
template <int kKernel, int kStride, int kRows>
FW_INLINE int64_t DepthwiseRuns(const DepthwiseCall &call, const DepthwiseColumns<kKernel> &plan, int64_t channel,
                                int64_t row) {
  while (row + kRows <= call.last) {
    const int64_t top = row * kStride - call.pad_top - call.x_first;
    const int64_t left = call.x_last - call.x_first - top - ((kRows - 1) * kStride + kKernel);
    int64_t runs = top < 0 || left < 0 ? 0 : left / (kRows * kStride) + 1;
    if (runs > (call.last - row) / kRows) runs = (call.last - row) / kRows;
    if (runs > 0) {
      if (Vec::kMasksSums && call.loose)
        DepthwiseInside<kKernel, kStride, kRows, Vec::kMasksSums>(call, plan, channel, row, runs);
      else
        DepthwiseInside<kKernel, kStride, kRows, false>(call, plan, channel, row, runs);
      row += runs * kRows;
    } else {
      DepthwiseAcross<kKernel, kStride, kRows>(call, plan, channel, row);
      row += kRows;
    }
  }
  return row;
}

template <int kKernel, int kStride>
static void DepthwiseSquare(const DepthwiseCall &call) {
  DepthwiseColumns<kKernel> plan;
  PlanColumns<kKernel, kStride>(call, &plan);
  for (int64_t channel = 0; channel < call.channels; ++channel) {
    int64_t row = DepthwiseRuns<kKernel, kStride, kMostRows>(call, plan, channel, call.first);
    if (kMostRows > 4) row = DepthwiseRuns<kKernel, kStride, 4>(call, plan, channel, row);
    row = DepthwiseRuns<kKernel, kStride, 2>(call, plan, channel, row);
    DepthwiseRuns<kKernel, kStride, 1>(call, plan, channel, row);
  }
}

// x[at + lane * stride], zeros beyond [0, width).
FW_INLINE V LoadStrided(const float *x, int64_t at, int64_t stride, int64_t width) {
  if (stride == 1) return Vec::Load(x + at, Vec::Between(-at, width - at));
  float lanes[Vec::kLanes];
  for (int l = 0; l < Vec::kLanes; ++l, at += stride) lanes[l] = at >= 0 && at < width ? x[at] : 0.0f;
  return Vec::Load(lanes);
}

// Any kernel, stride, dilation and padding.
static void DepthwiseAny(const DepthwiseCall &call) {
  const int64_t taps = static_cast<int64_t>(call.kernel_h) * call.kernel_w;
  const Bounds bounds = ClampOf(call.activation);
  const V low = Vec::Set(bounds.low), high = Vec::Set(bounds.high);
  for (int64_t channel = 0; channel < call.channels; ++channel) {
    const float *const plane = call.x + channel * call.x_plane;
    for (int64_t row = call.first; row < call.last; ++row) {
      float *const y = call.y + channel * call.y_plane + (row - call.first) * call.y_ld;
      for (int64_t column = 0; column < call.out_width; column += Vec::kLanes) {
        V sum = Vec::Set(call.bias[channel]);
        const float *weight = call.weight + channel * taps;
        for (int64_t i = 0; i < call.kernel_h; ++i) {
          const int64_t from = row * call.stride_h - call.pad_top + i * call.dilation_h;
          const bool there = from >= call.x_first && from < call.x_last;
          const float *const x = there ? plane + (from - call.x_first) * call.width : call.zeros;
          for (int64_t j = 0; j < call.kernel_w; ++j, ++weight) {
            const int64_t at = column * call.stride_w - call.pad_left + j * call.dilation_w;
            sum = Vec::Fma(Vec::Set(*weight), LoadStrided(x, at, call.stride_w, call.width), sum);
          }
        }
        Vec::Store(y + column, Vec::Min(high, Vec::Max(low, sum)), Vec::First(call.out_width - column));
      }
      if (!IsClamp(call.activation)) ActivateRows(y, call.y_ld, 1, call.out_width, call.activation);
    }
  }
}

template <int kKernel, int kStride>
static DepthwiseLoop SquareIfPlanned(const DepthwiseCall &call) {
  DepthwiseColumns<kKernel> plan;
  return PlanColumns<kKernel, kStride>(call, &plan) ? DepthwiseSquare<kKernel, kStride> : DepthwiseAny;
}

static DepthwiseLoop FindDepthwise(const DepthwiseCall &call) {
  if (call.dilation_h != 1 || call.dilation_w != 1 || call.kernel_h != call.kernel_w || call.stride_h != call.stride_w)
    return DepthwiseAny;
  if (call.kernel_h == 3 && call.stride_h == 1) return SquareIfPlanned<3, 1>(call);
  if (call.kernel_h == 3 && call.stride_h == 2) return SquareIfPlanned<3, 2>(call);
  if (call.kernel_h == 5 && call.stride_h == 1) return SquareIfPlanned<5, 1>(call);
  if (call.kernel_h == 5 && call.stride_h == 2) return SquareIfPlanned<5, 2>(call);
  return DepthwiseAny;
}

}  // namespace
}  // namespace FW_ISA
}  // namespace flyweight
