// The integer loops, written once over a vector of bytes. A file of one instruction set includes that set's `Vector`
// first, inside a namespace of its own, and then this file.

// Sums stay in registers where their loops are taken apart before the compiler looks at them as arrays.
#ifndef FW_UNROLL
#if defined(__clang__)
#define FW_UNROLL _Pragma("unroll")
#else
#define FW_UNROLL _Pragma("GCC unroll 32")
#endif
#endif

using flyweight::int8::AddRun;
using flyweight::int8::Clamp;
using flyweight::int8::ConvTile;
using flyweight::int8::HalvePlane;
using flyweight::int8::Lanes;
using flyweight::int8::Layout;
using flyweight::int8::PlaneTile;

inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

constexpr int kBlock = Vector::kWide ? 32 : 16;

// What becomes of sums: kPlain as a Clamp has it; kSummed: another image is added to the result.
enum class End { kPlain, kClamped, kSummed, kSummedPlain };

template <int kVectors, End kEnd>
inline __attribute__((always_inline)) void StoreRows(const Vector::Sum (&sums)[4][kVectors], const float *scales,
                                                     const ConvTile &tile, int64_t plane, const Lanes *lanes) {
  Vector::Scale scale[4];
  FW_UNROLL
  for (int r = 0; r < 4; ++r) scale[r] = Vector::All(scales[r]);
  FW_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const Vector::Sum rows[4] = {sums[0][v], sums[1][v], sums[2][v], sums[3][v]};
    const int64_t at = plane + 4 * static_cast<int64_t>(lanes[v].place);
    Vector::Raw bytes = Vector::Rows<kEnd == End::kPlain>(rows, scale, tile.clamp);
    if (kEnd == End::kSummed || kEnd == End::kSummedPlain) {
      constexpr bool kPlain = kEnd == End::kSummedPlain;
      const Vector::Raw other = Vector::LoadLanes(tile.other + at, lanes[v].mask);
      bytes = tile.second ? Vector::Added<kPlain>(other, bytes, tile.addition)
                          : Vector::Added<kPlain>(bytes, other, tile.addition);
    }
    Vector::Store(bytes, tile.y + at, lanes[v].mask);
  }
}

// kVectors vectors of positions times four rows are held in registers over all blocks of the group. One tile after
// another takes the same blocks, so that the processor foresees how many there are.
template <int kVectors, bool kPart, End kEnd>
void ConvAs(const ConvTile &given) {
  const ConvTile tile = given;  // which no store can change
  const Vector::Mask part = Vector::FirstOf(tile.last);
  for (int32_t group = tile.first_group; group < tile.end_group; ++group) {
    const int32_t *const begin = tile.offset + tile.start[group], *const end = tile.offset + tile.start[group + 1];
    const int8_t *const values = tile.values + static_cast<int64_t>(tile.start[group]) * kBlock;
    const int32_t *const bias = tile.bias + 4 * group;
    const float *const scale = tile.scale + 4 * group;
    const uint8_t *from = tile.x;
    const Lanes *lanes = tile.lanes;
    for (int32_t t = 0; t < tile.tiles; ++t, from += 4 * Vector::kLanes * kVectors, lanes += kVectors) {
      Vector::Sum sums[4][kVectors];
      FW_UNROLL
      for (int r = 0; r < 4; ++r) {
        FW_UNROLL
        for (int v = 0; v < kVectors; ++v) sums[r][v] = Vector::All(bias[r]);
      }
      const int8_t *weights = values;
      for (const int32_t *offset = begin; offset != end; ++offset, weights += kBlock) {
        const uint8_t *x = from + 4 * static_cast<int64_t>(*offset);
        Vector::Bytes inputs[kVectors];
        FW_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          const uint8_t *at = x + 4 * Vector::kLanes * v;
          inputs[v] = Vector::ToBytes(kPart && v == kVectors - 1 ? Vector::LoadPart(at, part) : Vector::Load(at));
        }
        FW_UNROLL
        for (int r = 0; r < 4; ++r) {
          const Vector::Weight weight = Vector::Spread(weights + 4 * r);
          FW_UNROLL
          for (int v = 0; v < kVectors; ++v) sums[r][v] = Vector::Dot(sums[r][v], inputs[v], weight);
        }
      }
      StoreRows<kVectors, kEnd>(sums, scale, tile, 4 * tile.y_plane * group, lanes);
    }
  }
}

template <int kVectors, bool kPart>
void Conv(const ConvTile &tile) {
  const bool sums = tile.other != nullptr;
  (sums && tile.addition.plain ? ConvAs<kVectors, kPart, End::kSummedPlain>
   : sums                      ? ConvAs<kVectors, kPart, End::kSummed>
   : tile.clamp.plain          ? ConvAs<kVectors, kPart, End::kPlain>
                               : ConvAs<kVectors, kPart, End::kClamped>)(tile);
}

// Four taps at a time are interleaved, so that a lane holds four taps of one channel of one pixel.
template <bool kPlain>
void PlaneAs(const PlaneTile &tile) {
  const Vector::Scale scale = Vector::Four(tile.scale);
  const Vector::Sum bias = Vector::Four(tile.bias);
  for (int32_t v = 0; v < tile.vectors; ++v) {
    const uint8_t *x = tile.x + 4 * static_cast<int64_t>(Vector::kLanes) * v;
    Vector::Sum sums[4] = {bias, bias, bias, bias};
    for (int32_t tap = 0; tap < tile.taps; tap += 4) {
      Vector::Raw taps[4], lanes[4];
      FW_UNROLL
      for (int t = 0; t < 4; ++t) taps[t] = Vector::Load(x + 4 * static_cast<int64_t>(tile.offset[tap + t]));
      Vector::Interleave(taps, lanes);
      const Vector::Weight weight = Vector::SpreadFour(tile.values + tap / 4 * kBlock);
      FW_UNROLL
      for (int k = 0; k < 4; ++k) sums[k] = Vector::Dot(sums[k], Vector::ToBytes(lanes[k]), weight);
    }
    Vector::Store(Vector::Pixels<kPlain>(sums, scale, tile.clamp), tile.y + 4 * static_cast<int64_t>(tile.lanes[v].place),
                  tile.lanes[v].mask);
  }
}

// Three taps in a row: four pixels that lie together hold what two neighbouring positions need, so one shuffle within
// 16 bytes takes the place of two interleavings.
template <bool kByTwo, bool kPlain>
void Plane3As(const PlaneTile &tile) {
  const Vector::Scale scale = Vector::Four(tile.scale);
  const Vector::Sum bias = Vector::Four(tile.bias);
  const uint8_t *row[3];
  Vector::Weight weight[3];
  FW_UNROLL
  for (int t = 0; t < 3; ++t) {
    row[t] = tile.x + 4 * static_cast<int64_t>(tile.offset[t]);
    weight[t] = Vector::SpreadFour(tile.values + t * kBlock);
  }
  for (int32_t v = 0; v < tile.vectors; ++v) {
    const int64_t at = static_cast<int64_t>(kByTwo ? 8 : 4) * Vector::kLanes * v;
    Vector::Sum sums[4] = {bias, bias, bias, bias};
    FW_UNROLL
    for (int t = 0; t < 3; ++t) {
      const uint8_t *x = row[t] + at;
      if (kByTwo) {
        FW_UNROLL
        for (int k = 0; k < 4; ++k) {
          const Vector::Raw four = Vector::Load(x + (k & 1) * 8 + (k >> 1) * 4 * Vector::kLanes);
          sums[k] = Vector::Dot(sums[k], Vector::ToBytes(Vector::FirstThree(four)), weight[t]);
        }
      } else {
        const Vector::Raw left = Vector::Load(x), right = Vector::Load(x + 8);
        sums[0] = Vector::Dot(sums[0], Vector::ToBytes(Vector::FirstThree(left)), weight[t]);
        sums[1] = Vector::Dot(sums[1], Vector::ToBytes(Vector::LastThree(left)), weight[t]);
        sums[2] = Vector::Dot(sums[2], Vector::ToBytes(Vector::FirstThree(right)), weight[t]);
        sums[3] = Vector::Dot(sums[3], Vector::ToBytes(Vector::LastThree(right)), weight[t]);
      }
    }
    Vector::Raw bytes = Vector::Pixels<kPlain>(sums, scale, tile.clamp);
    if (kByTwo) bytes = Vector::Halves(bytes);
    Vector::Store(bytes, tile.y + 4 * static_cast<int64_t>(tile.lanes[v].place), tile.lanes[v].mask);
  }
}

void Plane(const PlaneTile &tile) { (tile.clamp.plain ? PlaneAs<true> : PlaneAs<false>)(tile); }

template <bool kByTwo>
void Plane3(const PlaneTile &tile) {
  (tile.clamp.plain ? Plane3As<kByTwo, true> : Plane3As<kByTwo, false>)(tile);
}

void Largest(const PlaneTile &tile) {
  for (int32_t v = 0; v < tile.vectors; ++v) {
    const uint8_t *x = tile.x + 4 * static_cast<int64_t>(Vector::kLanes) * v;
    Vector::Raw most = Vector::Load(x + 4 * static_cast<int64_t>(tile.offset[0]));
    for (int32_t tap = 1; tap < tile.taps; ++tap) {
      most = Vector::Larger(most, Vector::Load(x + 4 * static_cast<int64_t>(tile.offset[tap])));
    }
    Vector::Store(most, tile.y + 4 * static_cast<int64_t>(tile.lanes[v].place), tile.lanes[v].mask);
  }
}

// Down first, a row ahead of what is read across: what was just stored is slow to load in other vectors.
void Halve(const HalvePlane &plane) {
  const int64_t width = plane.width, tail = width % Vector::kLanes, rest = plane.out_width % Vector::kLanes;
  const Vector::Raw none = Vector::Same(0);
  const Vector::Part end(1, 0, static_cast<int32_t>(tail == 0 ? Vector::kLanes : tail));
  const Vector::Part every(2, 0, Vector::kLanes), last(2, 0, static_cast<int32_t>(rest == 0 ? Vector::kLanes : rest));
  for (int64_t row = plane.first; row <= plane.end; ++row) {
    if (row < plane.end) {
      uint8_t *const room = plane.room + 4 * plane.pitch * (row & 1), *const to = room + 4 * plane.left;
      const uint8_t *line[3];
      for (int64_t i = 0; i < 3; ++i) {
        const int64_t from = 2 * row + i - plane.top;
        line[i] = plane.x + 4 * width * (from < 0 ? 0 : Least(from, plane.height - 1));
      }
      for (int64_t at = 0; at < width; at += Vector::kLanes) {
        Vector::Raw rows[3];
        const bool full = at + Vector::kLanes <= width;
        FW_UNROLL
        for (int i = 0; i < 3; ++i) rows[i] = full ? Vector::Load(line[i] + 4 * at) : end.Take(line[i], at, none);
        Vector::StoreAll(Vector::Larger(Vector::Larger(rows[0], rows[1]), rows[2]), to + 4 * at);
      }
      __builtin_memcpy(to + 4 * width, to + 4 * width - 4, 4);
      if (plane.left != 0) __builtin_memcpy(room, to, 4);
    }
    if (row == plane.first) continue;
    const uint8_t *const room = plane.room + 4 * plane.pitch * ((row - 1) & 1);
    uint8_t *const y = plane.y + 4 * plane.out_width * (row - 1);
    for (int64_t at = 0; at < plane.out_width; at += Vector::kLanes) {
      const int64_t lanes = Least(Vector::kLanes, plane.out_width - at);
      const Vector::Part &part = lanes == Vector::kLanes ? every : last;
      const Vector::Raw two = Vector::Larger(part.Take(room, 2 * at, none), part.Take(room, 2 * at + 1, none));
      Vector::Store(Vector::Larger(two, part.Take(room, 2 * at + 2, none)), y + 4 * at,
                    static_cast<uint32_t>((uint64_t{1} << lanes) - 1));
    }
  }
}

// One plane of an image with its border, or those of its rows and columns that a stride meets. Of the vectors of a row
// the last goes first: what it writes beyond the row is written over by the next row's others, or by the next row.
void Lay(const Layout &layout) {
  const Vector::Raw fill = Vector::Same(layout.fill);
  const int64_t stride = layout.stride_w, begin = layout.inner_left, end = layout.inner_right;
  const int64_t top = layout.inner_top, bottom = layout.inner_bottom;
  const int64_t x_step = layout.stride_h * layout.width;
  for (int64_t column = (layout.columns - 1) / Vector::kLanes * Vector::kLanes; column >= 0; column -= Vector::kLanes) {
    const int64_t first = begin - column, last = end - column;
    const bool inside = first < Vector::kLanes && last > 0 && begin < end;
    uint8_t *y = layout.y + 4 * column;
    int64_t row = 0;
    if (inside) {
      const Vector::Part part(stride, static_cast<int32_t>(first < 0 ? 0 : first),
                              static_cast<int32_t>(Least(last, Vector::kLanes)));
      for (; row < top; ++row, y += 4 * layout.pitch) Vector::StoreAll(fill, y);
      // Lane 0 of the vector; it may lie before the image, and is read from `first` on alone.
      int64_t from = (row * layout.stride_h - layout.top) * layout.width - layout.left + column * stride;
      for (; row < bottom; ++row, y += 4 * layout.pitch, from += x_step) {
        Vector::StoreAll(part.Take(layout.x, from, fill), y);
      }
    }
    for (; row < layout.rows; ++row, y += 4 * layout.pitch) Vector::StoreAll(fill, y);
  }
}

void Pack(const uint8_t *const x[4], uint8_t *__restrict y, int64_t count) {
  const uint8_t *a = x[0], *b = x[1], *c = x[2], *d = x[3];
  for (int64_t i = 0; i < count; ++i) {
    y[4 * i] = a[i];
    y[4 * i + 1] = b[i];
    y[4 * i + 2] = c[i];
    y[4 * i + 3] = d[i];
  }
}

void Unpack(const uint8_t *__restrict x, uint8_t *const y[4], int64_t count) {
  for (int k = 0; k < 4; ++k) {
    uint8_t *__restrict to = y[k];
    if (to == nullptr) continue;
    for (int64_t i = 0; i < count; ++i) to[i] = x[4 * i + k];
  }
}

// The last byte of four is written over by the next lane's first.
void Tighten(const uint8_t *x, int64_t channels, uint8_t *y, int64_t count) {
  int64_t i = 0;
  if (Vector::kTightens && channels == 3) {
    for (; i + Vector::kLanes <= count; i += Vector::kLanes) {
      Vector::StoreAll(Vector::Three(Vector::Load(x + 4 * i)), y + 3 * i);
    }
  }
  for (; i < count; ++i) __builtin_memcpy(y + channels * i, x + 4 * i, 4);
}

void Every(const uint8_t *x, int64_t step, uint8_t *y, int64_t count) {
  int64_t i = 0;
  if (Vector::kTightens && step <= 8) {
    const Vector::Steps steps(step);
    for (; i + Vector::kLanes <= count; i += Vector::kLanes) Vector::StoreAll(steps.Take(x + step * i), y + 4 * i);
    if (i < count) {
      uint8_t last[4 * Vector::kLanes];
      Vector::StoreAll(steps.Take(x + step * i), last);
      __builtin_memcpy(y + 4 * i, last, static_cast<size_t>(4 * (count - i)));
      return;
    }
  }
  for (; i < count; ++i) __builtin_memcpy(y + 4 * i, x + step * i, 4);
}

template <bool kPlain>
void AddAs(const AddRun &given) {
  const AddRun run = given;  // which no store can change, so that its numbers stay in registers
  constexpr int64_t kBytes = 4 * Vector::kLanes;
  int64_t i = 0;
  for (; i + kBytes <= run.count; i += kBytes) {
    Vector::StoreAll(Vector::Added<kPlain>(Vector::Load(run.a + i), Vector::Load(run.b + i), run.addition), run.y + i);
  }
  const size_t rest = static_cast<size_t>(run.count - i);
  if (rest == 0) return;
  uint8_t a[kBytes] = {}, b[kBytes] = {};
  __builtin_memcpy(a, run.a + i, rest);
  __builtin_memcpy(b, run.b + i, rest);
  Vector::StoreAll(Vector::Added<kPlain>(Vector::Load(a), Vector::Load(b), run.addition), a);
  __builtin_memcpy(run.y + i, a, rest);
}

void Add(const AddRun &run) { (run.addition.plain ? AddAs<true> : AddAs<false>)(run); }

void SumUp(const uint8_t *x, int64_t count, int32_t sums[4]) {
  int8_t ones[kBlock] = {};
  for (int i = 0; i < kBlock; i += kBlock / 16) ones[i] = 1;  // of 16 bits each, where weights are those
  const Vector::Weight weight = Vector::SpreadFour(ones);
  Vector::Sum sum = Vector::All(0);
  for (int64_t i = 0; i < count; i += Vector::kLanes) {
    const Vector::Mask part = Vector::FirstOf(static_cast<int32_t>(Least(count - i, Vector::kLanes)));
    const Vector::Raw raw = i + Vector::kLanes <= count ? Vector::Load(x + 4 * i) : Vector::LoadPart(x + 4 * i, part);
    sum = Vector::Dot(sum, Vector::ToBytes(Vector::FirstThree(raw)), weight);
  }
  int32_t lanes[Vector::kLanes];
  static_assert(sizeof lanes == sizeof sum, "a sum is its lanes");
  __builtin_memcpy(lanes, &sum, sizeof lanes);
  for (int c = 0; c < 4; ++c) {
    sums[c] = 0;
    for (int l = c; l < Vector::kLanes; l += 4) sums[c] += lanes[l];
  }
}

void Quantize(const flyweight::int8::QuantizeRun &run) {
  const Quantization by = run.by;
  int64_t i = 0;
  for (; i + Vector::kLanes <= run.count; i += Vector::kLanes) {
    Vector::StoreAll(Vector::Quantized(run.x, i, by), run.y + 4 * i);
  }
  if (i == run.count) return;
  float rest[4][Vector::kLanes] = {};
  const float *x[4];
  for (int k = 0; k < 4; ++k) {
    x[k] = run.x[k] == nullptr ? nullptr : rest[k];
    for (int64_t l = 0; l < run.count - i && x[k] != nullptr; ++l) rest[k][l] = run.x[k][i + l];
  }
  uint8_t last[4 * Vector::kLanes];
  Vector::StoreAll(Vector::Quantized(x, 0, by), last);
  __builtin_memcpy(run.y + 4 * i, last, static_cast<size_t>(4 * (run.count - i)));
}

template <int kVectors, bool kPart>
constexpr flyweight::int8::ConvLoop Loop() {
  if constexpr (kVectors <= Vector::kMost) {
    return Conv<kVectors, kPart>;
  } else {
    return nullptr;
  }
}

const flyweight::int8::Table kTable = {
    Vector::kLanes,
    Vector::kMost,
    Vector::kWide,
    {nullptr, Loop<1, false>(), Loop<2, false>(), Loop<3, false>(), Loop<4, false>(), Loop<5, false>(),
     Loop<6, false>()},
    {nullptr, Loop<1, true>(), Loop<2, true>(), Loop<3, true>(), Loop<4, true>(), Loop<5, true>(), Loop<6, true>()},
    Plane,
    Plane3<false>,
    Plane3<true>,
    Largest,
    Halve,
    Lay,
    Pack,
    Unpack,
    Tighten,
    Every,
    Add,
    Quantize,
    SumUp,
};
