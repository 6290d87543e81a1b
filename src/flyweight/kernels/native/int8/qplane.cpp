// Layers that take each channel by itself, from c4 to c4: depthwise convolutions, and the largest of a window.
#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/layer.h"
#include "core/pool.h"
#include "core/sparse_matrix.h"
#include "int8/geometry.h"
#include "int8/requantize.h"

namespace flyweight::int8 {
namespace {

struct Plan {
  Geometry geometry;
  std::vector<int32_t> offsets;  // of the loop
};

constexpr int64_t kNear = 24 << 10;  // bytes that stay in the nearest cache
constexpr int64_t kMostPlanes = 16;

class QPlane : public fw_layer {
 public:
  QPlane(int64_t channels, const fw_window &window) : table_(ActiveTable()), channels_(channels), window_(window) {
    if (channels < 1 || channels > (int64_t{1} << 30))
      Fail("got %lld channels. Give 1 to 2^30.", static_cast<long long>(channels));
    taps_ = CheckWindow(window_);
    groups_ = (channels + 3) / 4;
  }

  void OutputSize(int64_t height, int64_t width, int64_t out[3]) const override {
    out[0] = channels_;
    WindowSize(window_, height, width, out + 1);
  }

  void RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                 uint8_t *y) const override {
    const std::shared_ptr<const Plan> plan = plans_.Get(height, width, [&] { return MakePlan(height, width); });
    const Geometry &geometry = plan->geometry;
    const int64_t x_plane = 4 * height * width, y_plane = 4 * geometry.out_height * geometry.out_width;
    const int64_t planes = Product(batch, groups_, "the batch");
    Product(std::max(x_plane, y_plane), planes, "the batch");
    // Some planes are laid out before the first of them is read: what was just stored is slow to load in other vectors.
    const int64_t room = 4 * (geometry.plane + 64);
    const int64_t shared = (planes + 4 * Threads(pool) - 1) / (4 * Threads(pool));
    const int64_t each = std::max<int64_t>(1, std::min({kNear / room, shared, kMostPlanes}));
    ParallelFor(pool, (planes + each - 1) / each, [&](int64_t task) {
      const int64_t first = task * each, end = std::min(planes, first + each);
      uint8_t *rooms = ThreadScratch<uint8_t>(Scratch::kTile, static_cast<size_t>(room * each));
      for (int64_t i = first; i < end; ++i) {
        // A plane that needs no border is copied all the same: whole vectors are read from it.
        if (geometry.direct) {
          std::copy(x + i * x_plane, x + (i + 1) * x_plane, rooms + room * (i - first));
        } else {
          geometry.Lay(table_.lay, x + i * x_plane, rooms + room * (i - first), fill_);
        }
      }
      PlaneTile call{};
      call.offset = plan->offsets.data();
      call.lanes = geometry.lanes.data();
      call.taps = static_cast<int32_t>(plan->offsets.size());
      call.vectors = static_cast<int32_t>(geometry.vectors);
      for (int64_t i = first; i < end; ++i) {
        call.x = rooms + room * (i - first);
        call.y = y + i * y_plane;
        Run(call, i % groups_);
      }
    });
  }

 protected:
  virtual Plan MakePlan(int64_t height, int64_t width) const = 0;
  virtual void Run(PlaneTile &call, int64_t group) const = 0;

  const Table &table_;
  int64_t channels_, groups_, taps_;
  fw_window window_;
  uint8_t fill_ = 0;  // in the border

 private:
  mutable Plans<Plan> plans_;
};

class QDepthwise final : public QPlane {
 public:
  explicit QDepthwise(const fw_qdepthwise_spec &spec);
  const char *kind() const override { return "quantized depthwise layer"; }

 private:
  Plan MakePlan(int64_t height, int64_t width) const override;
  void Run(PlaneTile &call, int64_t group) const override;

  Clamp clamp_{};
  bool three_;  // 3x3, whose rows of taps are one load
  bool by_two_;
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

Plan QDepthwise::MakePlan(int64_t height, int64_t width) const {
  Plan plan{MakeGeometry(window_, height, width, table_.lanes, by_two_), {}};
  const std::vector<int32_t> &taps = plan.geometry.taps;
  if (three_) {
    plan.offsets = {taps[0], taps[3], taps[6]};
  } else {
    plan.offsets = taps;
    plan.offsets.resize(static_cast<size_t>(fours_) * 4, taps[0]);  // these meet weights of zero
  }
  return plan;
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

 private:
  Plan MakePlan(int64_t height, int64_t width) const override {
    Plan plan{MakeGeometry(window_, height, width, table_.lanes, false), {}};
    plan.offsets = plan.geometry.taps;
    return plan;
  }
  void Run(PlaneTile &call, int64_t) const override { table_.largest(call); }
};

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
