// Layers that take each channel by itself, from c4 to c4: depthwise convolutions, and the largest of a window.
#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/layer.h"
#include "core/pool.h"
#include "core/sparse_matrix.h"
#include "int8/geometry.h"
#include "int8/requantize.h"
#include "int8/sources.h"

namespace flyweight::int8 {
namespace {

// Some rows of the result: what they read of a plane stays in the nearest cache.
struct Band {
  Geometry geometry;
  std::vector<int32_t> offsets;  // of the loop
  int64_t first;                 // row
};

struct Plan {
  std::vector<Band> bands;
  int64_t rows, columns;  // of the result
  int64_t room;           // bytes that the largest band takes
};

constexpr int64_t kNear = 24 << 10;  // bytes that stay in the nearest cache
constexpr int64_t kMostBands = 16;
constexpr int64_t kFewestRows = 4;  // so that what two bands read both is little

class QPlane : public fw_layer {
 public:
  QPlane(int64_t channels, const fw_window &window) : table_(ActiveTable()), channels_(channels), window_(window) {
    if (channels < 1 || channels > (int64_t{1} << 30))
      Fail("got %lld channels. Give 1 to 2^30.", static_cast<long long>(channels));
    taps_ = CheckWindow(window_, "window", kMostWindow, kMostKernel);
    groups_ = (channels + 3) / 4;
  }

  void OutputSize(int64_t height, int64_t width, int64_t out[3]) const override {
    out[0] = channels_;
    const ImageSize size = WindowResult(window_, height, width);
    out[1] = size.height;
    out[2] = size.width;
  }

  void RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                 const uint8_t *residual, uint8_t *y) const override {
    CheckAlone(residual);
    const ImageSize size = WindowResult(window_, height, width);
    const int threads = Threads(pool);
    const int64_t pieces = batch >= 2 * threads ? 1 : PiecesOfRows(threads, size.height, size.width, table_.lanes);
    const std::shared_ptr<const Plan> plan =
        plans_.Get(height, width, pieces, [&] { return MakePlan(height, width, pieces); });
    const int64_t x_plane = 4 * height * width, y_plane = 4 * plan->rows * plan->columns;
    const int64_t planes = Product(batch, groups_, "the batch"), bands = static_cast<int64_t>(plan->bands.size());
    Product(std::max(x_plane, y_plane), planes, "the batch");
    // Some are laid out before the first of them is read: what was just stored is slow to load in other vectors.
    const int64_t shared = (planes * bands + 4 * Threads(pool) - 1) / (4 * Threads(pool));
    const int64_t each = std::max<int64_t>(1, std::min({kNear / plan->room, shared, kMostBands}));
    // Where the image is cut for threads, a band of all planes comes before the next band.
    const auto plane_of = [&](int64_t i) { return pieces > 1 ? i % planes : i / bands; };
    const auto band_of = [&](int64_t i) { return pieces > 1 ? i / planes : i % bands; };
    ParallelFor(pool, (planes * bands + each - 1) / each, [&](int64_t task) {
      const int64_t first = task * each, end = std::min(planes * bands, first + each);
      uint8_t *rooms = ThreadScratch<uint8_t>(Scratch::kTile, static_cast<size_t>(plan->room * each));
      for (int64_t i = first; i < end; ++i) {
        const Band &band = plan->bands[static_cast<size_t>(band_of(i))];
        band.geometry.Lay(table_.lay, x + plane_of(i) * x_plane, rooms + plan->room * (i - first), fill_);
      }
      for (int64_t i = first; i < end; ++i) {
        const Band &band = plan->bands[static_cast<size_t>(band_of(i))];
        PlaneTile call{};
        call.x = rooms + plan->room * (i - first);
        call.y = y + plane_of(i) * y_plane + 4 * plan->columns * band.first;
        call.offset = band.offsets.data();
        call.lanes = band.geometry.lanes.data();
        call.taps = static_cast<int32_t>(band.offsets.size());
        call.vectors = static_cast<int32_t>(band.geometry.vectors);
        Run(call, plane_of(i) % groups_);
      }
    });
  }

 protected:
  void CheckAlone(const uint8_t *residual) const {
    if (residual != nullptr) Fail("a %s takes no residual. Give NULL.", kind());
  }
  virtual std::vector<int32_t> Offsets(const std::vector<int32_t> &taps) const { return taps; }
  virtual void Run(PlaneTile &call, int64_t group) const = 0;

  const Table &table_;
  int64_t channels_, groups_, taps_;
  fw_window window_;
  uint8_t fill_ = 0;     // in the border
  bool by_two_ = false;  // as a Wish has it

 private:
  Plan MakePlan(int64_t height, int64_t width, int64_t pieces) const {
    Plan plan{};
    Wish wish{table_.lanes};
    wish.by_two = by_two_;
    Geometry whole = MakeGeometry(window_, height, width, wish);
    plan.rows = whole.out_height;
    plan.columns = whole.out_width;
    const int64_t near = std::min(4 * whole.plane / kNear + 1, std::max<int64_t>(1, plan.rows / kFewestRows));
    const int64_t wanted = (near + pieces - 1) / pieces * pieces;
    for (int64_t band = 0; band < wanted; ++band) {
      wish.first = band * plan.rows / wanted;
      wish.rows = (band + 1) * plan.rows / wanted - wish.first;
      Geometry part = wanted == 1 ? std::move(whole) : MakeGeometry(window_, height, width, wish);
      plan.room = std::max(plan.room, 4 * part.plane);
      std::vector<int32_t> offsets = Offsets(part.taps);
      plan.bands.push_back({std::move(part), std::move(offsets), wish.first});
    }
    return plan;
  }

  mutable Plans<Plan> plans_;
};

class QDepthwise final : public QPlane, public PlaneSource {
 public:
  explicit QDepthwise(const fw_qdepthwise_spec &spec);
  const char *kind() const override { return "quantized depthwise layer"; }

  int64_t Channels() const override { return channels_; }
  const fw_window &Window() const override { return window_; }
  bool ByTwo() const override { return by_two_; }
  uint8_t Fill() const override { return fill_; }
  std::vector<int32_t> Offsets(const std::vector<int32_t> &taps) const override;
  void Run(PlaneTile &call, int64_t group) const override;

 private:

  Clamp clamp_{};
  bool three_;  // 3x3, whose rows of taps are one load
  int64_t fours_;  // of taps
  AlignedArray<int8_t> values_;
  AlignedArray<int32_t> bias_;
  AlignedArray<float> scale_;
};

QDepthwise::QDepthwise(const fw_qdepthwise_spec &spec)
    : QPlane(spec.channels, spec.window) {
  if (spec.weight == nullptr) Fail("weight is NULL. Give %lld numbers, (channels, kernel_h, kernel_w).",
                                   static_cast<long long>(Product(channels_, taps_, "weight")));
  Product(Product(channels_ + 3, taps_ + 4, "weight"), 2, "weight");
  fill_ = spec.x_zero;
  three_ = window_.kernel_h == 3 && window_.kernel_w == 3 && window_.dilation_w == 1 &&
           (window_.stride_w == 1 || window_.stride_w == 2);
  by_two_ = three_ && window_.stride_w == 2;
  fours_ = three_ ? 3 : (taps_ + 3) / 4;
  const int64_t block = table_.wide ? 32 : 16;
  values_ = MakeAligned<int8_t>(static_cast<size_t>(groups_ * fours_ * block));
  std::vector<int64_t> sums(static_cast<size_t>(groups_) * 4, 0);
  const int64_t each = three_ ? 3 : 4;
  for (int64_t group = 0; group < groups_; ++group) {
    for (int64_t four = 0; four < fours_; ++four) {
      int8_t weights[16] = {};
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t channel = group * 4 + i / 4, tap = four * each + i % 4;
        if (channel >= channels_ || i % 4 >= each || tap >= taps_) continue;
        weights[i] = spec.weight[channel * taps_ + tap];
        sums[static_cast<size_t>(channel)] += weights[i];
      }
      PutSixteen(weights, table_.wide, values_.get() + (group * fours_ + four) * block);
    }
  }
  bias_ = FoldBias(spec.bias, sums.data(), spec.x_zero, channels_, groups_ * 4);
  scale_ = CopyScale(spec.scale, channels_, groups_ * 4);
  clamp_ = MakeClamp(spec.y_zero, spec.y_low, spec.y_high, scale_.get(), channels_);
}

std::vector<int32_t> QDepthwise::Offsets(const std::vector<int32_t> &taps) const {
  if (three_) return {taps[0], taps[3], taps[6]};
  std::vector<int32_t> offsets = taps;
  offsets.resize(static_cast<size_t>(fours_) * 4, taps[0]);  // these meet weights of zero
  return offsets;
}

void QDepthwise::Run(PlaneTile &call, int64_t group) const {
  call.values = values_.get() + group * fours_ * (table_.wide ? 32 : 16);
  call.bias = bias_.get() + 4 * group;
  call.scale = scale_.get() + 4 * group;
  call.clamp = clamp_;
  (by_two_ ? table_.plane_3_by_2 : three_ ? table_.plane_3 : table_.plane)(call);
}

class QMaxPool final : public QPlane {
 public:
  explicit QMaxPool(const fw_qmaxpool_spec &spec) : QPlane(spec.channels, spec.window) {}
  const char *kind() const override { return "quantized max pool"; }
  void RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                 const uint8_t *residual, uint8_t *y) const override;

 private:
  void Run(PlaneTile &call, int64_t) const override { table_.largest(call); }
};

// 3x3 at every second place, a network's usual pool, needs no plane laid out.
bool Halves(const fw_window &window) {
  return window.kernel_h == 3 && window.kernel_w == 3 && window.stride_h == 2 && window.stride_w == 2 &&
         window.dilation_h == 1 && window.dilation_w == 1 && window.pad_top <= 1 && window.pad_left <= 1 &&
         window.pad_bottom <= 1 && window.pad_right <= 1;
}

void QMaxPool::RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                         const uint8_t *residual, uint8_t *y) const {
  CheckAlone(residual);
  if (!Halves(window_)) {
    QPlane::RunQImage(pool, batch, height, width, x, nullptr, y);
    return;
  }
  const ImageSize size = WindowResult(window_, height, width);
  const int64_t planes = Product(batch, groups_, "the batch"), lanes = Product(height, width, "an image");
  const int64_t y_lanes = Product(size.height, size.width, "an image");
  Product(Product(std::max(lanes, y_lanes), 4, "an image"), planes, "the batch");
  const int64_t pitch = width + 2 * table_.lanes + 2;
  const int64_t pieces =
      batch >= 2 * Threads(pool) ? 1 : PiecesOfRows(Threads(pool), size.height, size.width, table_.lanes);
  ParallelFor(pool, planes * pieces, [&](int64_t task) {
    uint8_t *room = ThreadScratch<uint8_t>(Scratch::kTile, static_cast<size_t>(8 * pitch));
    const int64_t plane = task % planes, piece = task / planes;
    table_.halve({x + 4 * lanes * plane, y + 4 * y_lanes * plane, room, pitch, height, width, size.width,
                  piece * size.height / pieces, (piece + 1) * size.height / pieces, window_.pad_top, window_.pad_left});
  });
}

template <class Layer, class Spec>
int Create(const char *where, const Spec *spec, fw_layer **out) {
  return Guard(where, [&] {
    if (spec == nullptr || out == nullptr) Fail("got NULL for %s.", spec == nullptr ? "spec" : "out");
    *out = new Layer(*spec);
  });
}

}  // namespace
}  // namespace flyweight::int8

extern "C" {

int fw_qdepthwise_create(const fw_qdepthwise_spec *spec, fw_layer **out) {
  return flyweight::int8::Create<flyweight::int8::QDepthwise>("fw_qdepthwise_create", spec, out);
}

int fw_qmaxpool_create(const fw_qmaxpool_spec *spec, fw_layer **out) {
  return flyweight::int8::Create<flyweight::int8::QMaxPool>("fw_qmaxpool_create", spec, out);
}
}
