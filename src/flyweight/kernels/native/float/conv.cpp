// fw_conv: a sparse (or dense) convolution of float images.
#include <algorithm>
#include <array>
#include <memory>

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

// Enough work to tell two tiles apart, little enough that ten candidates take a few milliseconds.
constexpr double kMeasuredProducts = 8e6;

// What a size of image needs.
struct ConvPlan {
  ImagePlan image;
  ImageProduct product;
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
    const std::shared_ptr<const ConvPlan> plan =
        plans_.Get({height, width}, [&] { return MakePlan(pool, height, width, x); });
    const int64_t x_size = matrix_.pattern.inputs * height * width;
    const int64_t y_size = matrix_.pattern.rows * plan->image.columns();
    const auto run = [&](const fw_pool *with, int64_t item) {
      RunItem(with, *plan, x + item * x_size, residual == nullptr ? nullptr : residual + item * y_size,
              y + item * y_size);
    };
    // Whole images to threads as long as there is one for each, for they share nothing; what is left is cut.
    const int threads = Threads(pool);
    const int64_t whole = threads > 1 ? batch / threads * threads : 0;
    static const fw_pool alone = {1, nullptr, RunAlone};
    ParallelFor(pool, whole, [&](int64_t item) { run(&alone, item); });
    for (int64_t item = whole; item < batch; ++item) run(pool, item);
  }

 private:
  static void RunAlone(void *, int64_t tasks, void (*task)(void *, int64_t), void *argument) {
    for (int64_t i = 0; i < tasks; ++i) task(argument, i);
  }

  // The image itself, or its copies in this thread's room.
  const float *Prepared(const fw_pool *pool, const ImagePlan &image, const float *x) const {
    if (image.direct()) return x;
    float *const copies = ThreadScratch<float>(Scratch::kImage, static_cast<size_t>(image.size()));
    const int64_t channels = matrix_.pattern.inputs;
    const int64_t parts = std::min<int64_t>(channels, Threads(pool) == 1 ? 1 : 4 * Threads(pool));
    ParallelFor(pool, parts, [&](int64_t part) {
      image.Prepare(kernels_, x, channels * part / parts, channels * (part + 1) / parts, copies);
    });
    return copies;
  }

  std::shared_ptr<const ConvPlan> MakePlan(const fw_pool *pool, int64_t height, int64_t width, const float *x) const {
    ImagePlan image(window_, matrix_.pattern.inputs, height, width);
    const TilePattern &pattern = matrix_.pattern;
    // What is counted must stay within 64 bits for the largest batch too; the caller holds such arrays or none.
    Product(Product(pattern.inputs, height * width, "the image"), 64, "the image");
    Product(Product(pattern.rows, image.columns(), "the result"), 64, "the result");
    const auto make = [&](Tile tile) {
      return ImageProduct(matrix_, kernels_, activation_, image.inputs(), image.columns(), tile);
    };
    char key[256];
    std::snprintf(key, sizeof key, "conv %lldx%lldx%lld r%d k%lld n%lld%s", static_cast<long long>(pattern.rows),
                  static_cast<long long>(pattern.inputs), static_cast<long long>(pattern.taps), pattern.block_rows,
                  static_cast<long long>(pattern.columns.size()), static_cast<long long>(image.columns()),
                  image.direct() ? "" : " copied");
    const float *prepared = nullptr;
    AlignedArray<float> result;
    const Tile best = ChooseTile(key, ProductTiles(matrix_, kernels_, image.columns()), [&](const Tile &tile) {
      if (prepared == nullptr) {
        prepared = Prepared(pool, image, x);
        result = MakeAligned<float>(static_cast<size_t>(pattern.rows * image.columns()));
      }
      Measure(make(tile), prepared, result.get());
    });
    return std::make_shared<const ConvPlan>(ConvPlan{image, make(best)});
  }

  // About kMeasuredProducts of the work, or all of it, on this thread.
  void Measure(const ImageProduct &product, const float *x, float *y) const {
    const TilePattern &pattern = matrix_.pattern;
    const double all = static_cast<double>(pattern.columns.size() + 1) * pattern.block_rows *
                       static_cast<double>(product.tiles().columns);
    int64_t columns = product.tiles().columns;
    if (all > kMeasuredProducts)
      columns = std::max<int64_t>(8 * kMaxVectors * kernels_.lanes, static_cast<int64_t>(columns * kMeasuredProducts / all));
    for (int64_t tile = 0; tile < product.tiles().count && product.tiles().FirstColumn(tile) < columns; ++tile)
      product.Run(x, nullptr, y, tile, 0, pattern.tile_rows, nullptr);
  }

  void RunItem(const fw_pool *pool, const ConvPlan &plan, const float *x, const float *residual, float *y) const {
    const ImageProduct &product = plan.product;
    const TilePattern &pattern = matrix_.pattern;
    x = Prepared(pool, plan.image, x);
    const int64_t tiles = product.tiles().count;
    const int threads = Threads(pool);
    if (threads == 1 || tiles >= 4 * threads) {
      ParallelFor(pool, tiles, [&](int64_t tile) { product.Run(x, residual, y, tile, 0, pattern.tile_rows, nullptr); });
      return;
    }
    // Too few tiles to share out evenly: the rows are cut too, and what tiles pack is packed before, once.
    const std::vector<int64_t> cuts = CutBlockRows(pattern, (4 * threads + tiles - 1) / tiles);
    const int64_t parts = static_cast<int64_t>(cuts.size()) - 1;
    float *panels = nullptr;
    if (product.packs()) {
      panels = ThreadScratch<float>(Scratch::kPanel, static_cast<size_t>(product.PanelSize() * tiles));
      const int64_t depth = pattern.tile_columns;
      const int64_t pieces = std::min<int64_t>(depth, 2 * threads);
      ParallelFor(pool, tiles * pieces, [&](int64_t task) {
        const int64_t tile = task / pieces, piece = task % pieces;
        product.Pack(x, tile, depth * piece / pieces, depth * (piece + 1) / pieces,
                     panels + tile * product.PanelSize());
      });
    }
    ParallelFor(pool, tiles * parts, [&](int64_t task) {
      const int64_t tile = task / parts;
      const size_t part = static_cast<size_t>(task % parts);
      product.Run(x, residual, y, tile, cuts[part], cuts[part + 1],
                  panels == nullptr ? nullptr : panels + tile * product.PanelSize());
    });
  }

  const SpmmKernels &kernels_;
  SparseMatrix matrix_;
  fw_window window_;
  int32_t activation_;
  mutable Cache<std::array<int64_t, 2>, ConvPlan> plans_;
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
