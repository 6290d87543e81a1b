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
  Vec::Mask load[kKernel + 1];
};

// The vectors of a row: edges, then [inner, inner_end) without any masks, columns of the result.
template <int kKernel>
struct DepthwiseColumns {
  int edges = 0;
  int64_t inner = 0, inner_end = 0;
  DepthwiseEdge<kKernel> edge[kMostEdges];
};

// How far a load of a vector of results reaches beyond its first tap.
constexpr int LoadSpan(int kernel, int stride) {
  return stride == 1 ? kernel - 1 + Vec::kLanes : (kernel - 1) / 2 * 2 + 2 * Vec::kLanes;
}

// False where there are more edges than are kept: padding as wide as many vectors.
template <int kKernel, int kStride>
static bool PlanColumns(const DepthwiseCall &call, DepthwiseColumns<kKernel> *plan) {
  for (int64_t column = 0; column < call.out_width; column += Vec::kLanes) {
    const int64_t at = column * kStride - call.pad_left;
    if (at >= 0 && at + LoadSpan(kKernel, kStride) <= call.width && column + Vec::kLanes <= call.out_width) {
      if (plan->inner == plan->inner_end) plan->inner = column;
      plan->inner_end = column + Vec::kLanes;
      continue;
    }
    if (plan->edges == kMostEdges) return false;
    DepthwiseEdge<kKernel> &edge = plan->edge[plan->edges++];
    edge.column = column;
    edge.result = Vec::First(call.out_width - column);
    for (int t = 0; t <= kKernel; ++t) {
      const int64_t from = at + (kStride == 1 ? t : t / 2 * 2 + t % 2 * Vec::kLanes);
      edge.load[t] = Vec::Between(-from, call.width - from);
    }
  }
  return true;
}

// What the taps of one row of x meet. With a stride of two, each pair of taps shares two loads, taken apart into even and
// odd places.
template <int kKernel, int kStride, bool kEdge>
FW_INLINE void LoadTaps(const float *x, const DepthwiseEdge<kKernel> *edge, V (&in)[kKernel]) {
  FW_UNROLL
  for (int t = 0; t < kKernel; t += kStride) {
    if constexpr (kStride == 1) {
      in[t] = Vec::Keep(kEdge ? Vec::Load(x + t, edge->load[t]) : Vec::Load(x + t));
    } else {
      const float *const more = x + t + Vec::kLanes;
      const V near = kEdge ? Vec::Load(x + t, edge->load[t]) : Vec::Load(x + t);
      const V far = kEdge ? Vec::Load(more, edge->load[t + 1]) : Vec::Load(more);
      in[t] = Vec::Even(near, far);
      if (t + 1 < kKernel) in[t + 1] = Vec::Odd(near, far);
    }
  }
}

template <int kKernel, int kStride, int kRows, bool kEdge>
FW_INLINE void DepthwiseTile(const float *const *rows, int64_t at, const DepthwiseEdge<kKernel> *edge,
                             const V (&weight)[kKernel * kKernel], V bias, V low, V high, float *y, int64_t y_ld) {
  V sum[kRows];
  FW_UNROLL
  for (int k = 0; k < kRows; ++k) sum[k] = bias;
  FW_UNROLL
  for (int r = 0; r < (kRows - 1) * kStride + kKernel; ++r) {
    V in[kKernel];
    LoadTaps<kKernel, kStride, kEdge>(rows[r] + at, edge, in);
    FW_UNROLL
    for (int k = 0; k < kRows; ++k) {
      const int tap = r - k * kStride;
      if (tap < 0 || tap >= kKernel) continue;
      FW_UNROLL
      for (int t = 0; t < kKernel; ++t) sum[k] = Vec::Fma(weight[tap * kKernel + t], in[t], sum[k]);
    }
  }
  FW_UNROLL
  for (int k = 0; k < kRows; ++k) {
    const V made = Vec::Min(high, Vec::Max(low, sum[k]));
    if (kEdge)
      Vec::Store(y + k * y_ld, made, edge->result);
    else
      Vec::Store(y + k * y_ld, made);
  }
}

// kRows rows of one plane, from `row` on.
template <int kKernel, int kStride, int kRows>
static void DepthwiseRows(const DepthwiseCall &call, const DepthwiseColumns<kKernel> &plan, int64_t channel, int64_t row) {
  constexpr int kInputs = (kRows - 1) * kStride + kKernel;
  const float *const plane = call.x + channel * call.x_plane;
  const float *rows[kInputs];
  FW_UNROLL
  for (int r = 0; r < kInputs; ++r) {
    const int64_t from = row * kStride - call.pad_top + r;
    rows[r] = from >= call.x_first && from < call.x_last ? plane + (from - call.x_first) * call.width : call.zeros;
  }
  V weight[kKernel * kKernel];
  FW_UNROLL
  for (int t = 0; t < kKernel * kKernel; ++t) weight[t] = Vec::Set(call.weight[channel * kKernel * kKernel + t]);
  const Bounds bounds = ClampOf(call.activation);
  const V bias = Vec::Set(call.bias[channel]), low = Vec::Set(bounds.low), high = Vec::Set(bounds.high);
  float *const y = call.y + channel * call.y_plane + (row - call.first) * call.y_ld;
  for (int64_t column = plan.inner; column < plan.inner_end; column += Vec::kLanes)
    DepthwiseTile<kKernel, kStride, kRows, false>(rows, column * kStride - call.pad_left, nullptr, weight, bias, low, high,
                                                  y + column, call.y_ld);
  for (int e = 0; e < plan.edges; ++e) {
    const DepthwiseEdge<kKernel> &edge = plan.edge[e];
    DepthwiseTile<kKernel, kStride, kRows, true>(rows, edge.column * kStride - call.pad_left, &edge, weight, bias, low,
                                                 high, y + edge.column, call.y_ld);
  }
  if (!IsClamp(call.activation)) ActivateRows(y, call.y_ld, kRows, call.out_width, call.activation);
}

template <int kKernel, int kStride>
static void DepthwiseSquare(const DepthwiseCall &call) {
  DepthwiseColumns<kKernel> plan;
  PlanColumns<kKernel, kStride>(call, &plan);
  for (int64_t channel = 0; channel < call.channels; ++channel) {
    int64_t row = call.first;
    for (; row + kMostRows <= call.last; row += kMostRows)
      DepthwiseRows<kKernel, kStride, kMostRows>(call, plan, channel, row);
    if (kMostRows > 4 && row + 4 <= call.last) {
      DepthwiseRows<kKernel, kStride, 4>(call, plan, channel, row);
      row += 4;
    }
    if (row + 2 <= call.last) {
      DepthwiseRows<kKernel, kStride, 2>(call, plan, channel, row);
      row += 2;
    }
    if (row < call.last) DepthwiseRows<kKernel, kStride, 1>(call, plan, channel, row);
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
