// fw_conv: a sparse (or dense) convolution of float images.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "core/cache.h"
#include "core/error.h"
#include "core/layer.h"
#include "core/pool.h"
#include "core/scratch.h"
#include "core/sparse_matrix.h"
#include "core/window.h"
#include "float/image.h"
#include "float/product.h"

namespace flyweight {
namespace {

// What a size of image needs.
struct ConvPlan {
  const ImageProduct &ProductOf(int64_t band) const {
    return band + 1 < image.bands() ? products.front() : products.back();
  }

  ImagePlan image;
  std::vector<ImageProduct> products;  // of a band, and of the last where that has fewer rows
};

class Conv final : public fw_layer {
 public:
  Conv(const fw_conv_spec &spec)
      : kernels_(Spmm()),
        matrix_(MakeSparseMatrix(spec.weight, spec.bias, "weight")),
        window_(spec.window),
        activation_(spec.activation) {
    const int64_t taps = CheckWindow(window_, "window");
    if (taps != matrix_.pattern.taps)
      Fail("weight.taps is %lld, but a kernel of %dx%d has %lld places. Give that many.",
           static_cast<long long>(matrix_.pattern.taps), window_.kernel_h, window_.kernel_w,
           static_cast<long long>(taps));
    CheckActivation(activation_);
  }

  const char *kind() const override { return "convolution"; }

  void OutputSize(int64_t height, int64_t width, int64_t out[3]) const override {
    const ImageSize size = WindowResult(window_, height, width);
    out[0] = matrix_.pattern.rows;
    out[1] = size.height;
    out[2] = size.width;
  }

  void RunImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const float *x,
                const float *residual, float *y) const override {
    // Threads that work on the same image.
    const int64_t sharing = batch % Threads(pool) == 0 ? 1 : Threads(pool);
    const std::shared_ptr<const ConvPlan> plan =
        plans_.Get({height, width, sharing}, [&] { return MakePlan(pool, height, width, sharing, x); });
    const int64_t x_size = matrix_.pattern.inputs * height * width;
    const int64_t y_size = matrix_.pattern.rows * plan->image.out_height() * plan->image.out_width();
    const auto run = [&](const fw_pool *with, int64_t item) {
      RunItem(with, *plan, x + item * x_size, residual == nullptr ? nullptr : residual + item * y_size,
              y + item * y_size);
    };
    // Whole images to threads as long as there is one for each, for they share nothing; what is left is cut.
    const int threads = Threads(pool);
    const int64_t whole = threads > 1 ? batch / threads * threads : 0;
    ParallelFor(pool, whole, [&](int64_t item) { run(&kAlone, item); });
    for (int64_t item = whole; item < batch; ++item) run(pool, item);
  }

 private:
  // The image itself, or a band's copies in this thread's room.
  const float *Prepared(const fw_pool *pool, const ImagePlan &image, int64_t band, const float *x) const {
    if (image.direct()) return x;
    float *const copies = ThreadScratch<float>(Scratch::kImage, static_cast<size_t>(image.size()));
    const int64_t channels = matrix_.pattern.inputs;
    const int64_t parts = std::min<int64_t>(channels, Threads(pool) == 1 ? 1 : 4 * Threads(pool));
    ParallelFor(pool, parts, [&](int64_t part) {
      image.Prepare(kernels_, x, band, channels * part / parts, channels * (part + 1) / parts, copies);
    });
    return copies;
  }

  std::shared_ptr<const ConvPlan> MakePlan(const fw_pool *pool, int64_t height, int64_t width, int64_t sharing,
                                           const float *x) const {
    ConvPlan plan{ImagePlan(window_, matrix_.pattern.inputs, height, width, sharing), {}};
    const ImagePlan &image = plan.image;
    const TilePattern &pattern = matrix_.pattern;
    const int64_t y_ld = image.out_height() * image.out_width();
    Product(pattern.inputs, height * width, "the image");
    Product(pattern.rows, y_ld, "the result");
    const int64_t columns = image.band_rows() * image.out_width();
    const auto make = [&](int64_t rows, Tile tile) {
      return ImageProduct(matrix_, kernels_, activation_, image.inputs(), rows * image.out_width(), y_ld, tile);
    };
    char key[256];
    std::snprintf(key, sizeof key, "conv %lldx%lldx%lld r%d k%lld n%lld%s", static_cast<long long>(pattern.rows),
                  static_cast<long long>(pattern.inputs), static_cast<long long>(pattern.taps), pattern.block_rows,
                  static_cast<long long>(pattern.columns.size()), static_cast<long long>(columns),
                  image.direct() ? "" : " copied");
    const float *prepared = nullptr;
    AlignedArray<float> result;
    const Tile best = ChooseTile(key, ProductTiles(matrix_, kernels_, columns), [&](const Tile &tile) {
      if (prepared == nullptr) {
        prepared = Prepared(pool, image, 0, x);
        result = MakeAligned<float>(static_cast<size_t>(pattern.rows * y_ld));
      }
      Measure(make(image.band_rows(), tile), prepared, result.get());
    });
    plan.products.push_back(make(image.band_rows(), best));
    const int64_t left = image.out_height() % image.band_rows();
    if (left != 0) plan.products.push_back(make(left, best));
    return std::make_shared<const ConvPlan>(std::move(plan));
  }

  // A part of the work that stands for all of it, on this thread.
  void Measure(const ImageProduct &product, const float *x, float *y) const {
    const ColumnTiles &tiles = product.tiles();
    const int64_t measured = MeasuredColumns(matrix_, kernels_, tiles.columns);
    for (int64_t tile = 0; tile < tiles.count && tiles.FirstColumn(tile) < measured; ++tile)
      product.Run(x, nullptr, y, tile, 0, matrix_.pattern.tile_rows);
  }

  void RunItem(const fw_pool *pool, const ConvPlan &plan, const float *x, const float *residual, float *y) const {
    const ImagePlan &image = plan.image;
    const auto run = [&](const fw_pool *with, int64_t band) {
      const int64_t begin = band * image.band_rows() * image.out_width();
      plan.ProductOf(band).RunAll(with, Prepared(with, image, band, x),
                                  residual == nullptr ? nullptr : residual + begin, y + begin);
    };
    const bool shared = image.bands() >= 2 * Threads(pool) || image.bands() % Threads(pool) == 0;
    if (shared) ParallelFor(pool, image.bands(), [&](int64_t band) { run(&kAlone, band); });
    for (int64_t band = 0; band < image.bands() && !shared; ++band) run(pool, band);
  }

  const SpmmKernels &kernels_;
  SparseMatrix matrix_;
  fw_window window_;
  int32_t activation_;
  mutable Cache<std::array<int64_t, 3>, ConvPlan> plans_;
};

}  // namespace
}  // namespace flyweight

extern "C" int fw_conv_create(const fw_conv_spec *spec, fw_layer **out) {
  using namespace flyweight;
  return Guard("fw_conv_create", [&] {
    if (spec == nullptr || out == nullptr) Fail("got NULL for %s.", spec == nullptr ? "spec" : "out");
    *out = nullptr;
    *out = new Conv(*spec);
  });
}
