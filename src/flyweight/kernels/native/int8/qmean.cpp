// The mean of each channel over an image, from c4 to c4 of one pixel.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/layer.h"
#include "core/pool.h"
#include "core/sparse_matrix.h"
#include "int8/loops.h"

namespace flyweight::int8 {
namespace {

class QMean final : public fw_layer {
 public:
  explicit QMean(const fw_qmean_spec &spec) : spec_(spec), groups_((spec.channels + 3) / 4) {
    if (spec.channels < 1 || spec.channels > (int64_t{1} << 30))
      Fail("got %lld channels. Give 1 to 2^30.", static_cast<long long>(spec.channels));
    if (!(spec.x_scale > 0) || !(spec.y_scale > 0) || !std::isfinite(spec.x_scale / spec.y_scale))
      Fail("the scales are %g and %g. Give finite ones above 0.", static_cast<double>(spec.x_scale),
           static_cast<double>(spec.y_scale));
  }

  const char *kind() const override { return "quantized mean"; }
  void OutputSize(int64_t, int64_t, int64_t out[3]) const override {
    out[0] = spec_.channels;
    out[1] = out[2] = 1;
  }

  void RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                 const uint8_t *residual, uint8_t *y) const override {
    if (residual != nullptr) Fail("a %s takes no residual. Give NULL.", kind());
    const int64_t pixels = Product(height, width, "an image"), planes = Product(batch, groups_, "the batch");
    Product(pixels, Product(planes, 4, "the batch"), "the batch");
    // Sums stay below 2^31, where 32 bits hold them.
    if (pixels >= (int64_t{1} << 23))
      Fail("an image of %lld x %lld has too many pixels for a mean. Give one of fewer than 2^23.",
           static_cast<long long>(height), static_cast<long long>(width));
    const float scale = spec_.x_scale / (spec_.y_scale * static_cast<float>(pixels));
    const int32_t shift = static_cast<int32_t>(pixels) * spec_.x_zero;
    const float low = -static_cast<float>(spec_.y_zero), high = 255.0f + low;
    const Table &table = ActiveTable();
    const int64_t shares = std::min<int64_t>(planes, Threads(pool));
    ParallelFor(pool, shares, [&](int64_t share) {
      for (int64_t plane = share * planes / shares; plane < (share + 1) * planes / shares; ++plane) {
        int32_t sums[4];
        table.sum(x + 4 * pixels * plane, pixels, sums);
        for (int c = 0; c < 4; ++c) {
          const float mean = static_cast<float>(sums[c] - shift) * scale;
          const long whole = __builtin_lrintf(std::min(std::max(mean, low), high));
          y[4 * plane + c] = static_cast<uint8_t>(whole + spec_.y_zero);
        }
      }
    });
  }

 private:
  fw_qmean_spec spec_;
  int64_t groups_;
};

}  // namespace
}  // namespace flyweight::int8

extern "C" int fw_qmean_create(const fw_qmean_spec *spec, fw_layer **out) {
  return flyweight::Guard("fw_qmean_create", [&] {
    if (spec == nullptr || out == nullptr) flyweight::Fail("got NULL for %s.", spec == nullptr ? "spec" : "out");
    *out = new flyweight::int8::QMean(*spec);
  });
}
