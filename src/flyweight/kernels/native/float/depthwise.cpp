#include "float/depthwise.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/kernels.h"
#include "core/pool.h"
#include "core/sparse_matrix.h"

namespace flyweight {
namespace {

using ll = long long;

// Results that are worth a task of their own, some ten microseconds.
constexpr int64_t kTaskResults = 1 << 15;

class DepthwiseLayer final : public fw_layer {
 public:
  explicit DepthwiseLayer(const fw_depthwise_spec &spec) : weight_(MakeDepthwise(spec, "depthwise")) {}

  const char *kind() const override { return "depthwise layer"; }

  void OutputSize(int64_t height, int64_t width, int64_t out[3]) const override {
    const ImageSize size = WindowResult(weight_.window, height, width);
    out[0] = weight_.channels;
    out[1] = size.height;
    out[2] = size.width;
  }

  void RunImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const float *x,
                const float *residual, float *y) const override {
    if (residual != nullptr) Fail("a depthwise layer takes no residual. Pass NULL, and add it afterwards.");
    const ImageSize size = WindowResult(weight_.window, height, width);
    const int64_t plane = height * width, out_plane = size.height * size.width;
    const int64_t planes = Product(batch, weight_.channels, "the number of planes");
    Product(planes, std::max(plane, out_plane) * int64_t{sizeof(float)}, "the size of the images");
    const AlignedArray<float> zeros = Zeros(width);
    DepthwiseCall shape = weight_.Call(width, size.width);
    shape.x_first = 0;
    shape.x_last = height;
    shape.x_plane = plane;
    shape.zeros = zeros.get();
    shape.y_plane = out_plane;
    shape.y_ld = size.width;
    const DepthwiseLoop loop = DepthwiseInUse().choose(shape);
    // Large planes are cut into strips of rows, small ones go several to a task.
    const int64_t strips = std::min(size.height, CeilDivide(out_plane, 2 * kTaskResults));
    const int64_t together = strips > 1 ? 1 : std::min(weight_.channels, CeilDivide(kTaskResults, out_plane));
    const int64_t groups = CeilDivide(weight_.channels, together);
    ParallelFor(pool, batch * groups * strips, [&](int64_t task) {
      const int64_t strip = task % strips, group = task / strips % groups, image = task / strips / groups;
      const int64_t channel = group * together, first = image * weight_.channels + channel;
      DepthwiseCall call = shape;
      call.channels = std::min(together, weight_.channels - channel);
      call.first = size.height * strip / strips;
      call.last = size.height * (strip + 1) / strips;
      call.x = x + first * plane;
      call.weight += channel * weight_.window.kernel_h * weight_.window.kernel_w;
      call.bias += channel;
      call.y = y + first * out_plane + call.first * size.width;
      loop(call);
    });
  }

 private:
  DepthwiseWeight weight_;
};

}  // namespace

const DepthwiseLoops &DepthwiseInUse() {
#if FLYWEIGHT_AVX512
  if (ActiveIsa() == Isa::kAvx512) return avx512::kDepthwise;
#endif
#if FLYWEIGHT_AVX2
  if (ActiveIsa() == Isa::kAvx2) return avx2::kDepthwise;
#endif
  return portable::kDepthwise;
}

AlignedArray<float> Zeros(int64_t count) {
  AlignedArray<float> zeros = MakeAligned<float>(static_cast<size_t>(count));
  std::memset(zeros.get(), 0, static_cast<size_t>(count) * sizeof(float));
  return zeros;
}

DepthwiseWeight MakeDepthwise(const fw_depthwise_spec &spec, const char *what) {
  const int64_t taps = CheckWindow(spec.window, what);
  CheckActivation(spec.activation);
  if (spec.channels < 1 || spec.channels > std::numeric_limits<int32_t>::max())
    Fail("%s.channels is %lld. Give 1 or more.", what, ll{spec.channels});
  if (spec.weight == nullptr) Fail("%s.weight is NULL. Give (channels, kernel_h, kernel_w) numbers.", what);
  const int64_t count = Product(spec.channels, taps, what);
  Product(count, sizeof(float), what);
  DepthwiseWeight made{spec.channels, spec.window, MakeAligned<float>(static_cast<size_t>(count)), Zeros(spec.channels),
                       spec.activation};
  std::memcpy(made.weight.get(), spec.weight, static_cast<size_t>(count) * sizeof(float));
  if (spec.bias != nullptr) std::memcpy(made.bias.get(), spec.bias, static_cast<size_t>(spec.channels) * sizeof(float));
  return made;
}

DepthwiseCall DepthwiseWeight::Call(int64_t width, int64_t out_width) const {
  DepthwiseCall call{};
  call.width = width;
  call.out_width = out_width;
  call.weight = weight.get();
  call.bias = bias.get();
  call.kernel_h = window.kernel_h;
  call.kernel_w = window.kernel_w;
  call.stride_h = window.stride_h;
  call.stride_w = window.stride_w;
  call.dilation_h = window.dilation_h;
  call.dilation_w = window.dilation_w;
  call.pad_top = window.pad_top;
  call.pad_left = window.pad_left;
  call.activation = activation;
  return call;
}

}  // namespace flyweight

extern "C" int fw_depthwise_create(const fw_depthwise_spec *spec, fw_layer **out) {
  return flyweight::Guard("fw_depthwise_create", [&] {
    if (spec == nullptr || out == nullptr)
      flyweight::Fail("got NULL for %s. Give a description and room for the layer.", spec == nullptr ? "spec" : "out");
    *out = new flyweight::DepthwiseLayer(*spec);
  });
}
