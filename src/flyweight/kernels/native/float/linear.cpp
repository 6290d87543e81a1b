// fw_linear: a sparse (or dense) linear layer on tokens, which lie feature after feature.
#include <algorithm>
#include <array>
#include <memory>

#include "core/cache.h"
#include "core/error.h"
#include "core/layer.h"
#include "core/pool.h"
#include "core/scratch.h"
#include "core/sparse_matrix.h"
#include "core/tiles.h"
#include "float/columns.h"
#include "float/product.h"

namespace flyweight {
namespace {

// Rows of results that are turned back to tokens at a time: two cache lines of each token's.
constexpr int64_t kTurnedRows = 32;

// Tokens up to here go through the few-token loop, which costs a token's blocks each; the tiles' cost is that of a
// whole vector of tokens whatever their number. It falls with the block's height, for a vector holds that many rows
// there. Never measured: the two sum in another order.
int64_t FewTokens(int block_rows) {
  switch (block_rows) {
    case 16:
      return 10;
    case 8:
      return 4;
    case 4:
      return 2;
    default:
      return 1;
  }
}

// Multiplications below which a layer is not shared: some 20 us of one thread with AVX-512.
constexpr double kSharedProducts = 5e5;

// What a number of tokens needs.
struct LinearPlan {
  ColumnTiles tiles;
  std::vector<int32_t> offsets;  // empty where few tokens take the other loop
};

class Linear final : public fw_layer {
 public:
  Linear(const fw_linear_spec &spec)
      : kernels_(Spmm()), matrix_(MakeSparseMatrix(spec.weight, spec.bias, "weight")), activation_(spec.activation) {
    if (matrix_.pattern.taps != 1)
      Fail("weight.taps is %lld, but a linear has 1.", static_cast<long long>(matrix_.pattern.taps));
    CheckActivation(activation_);
  }

  const char *kind() const override { return "linear"; }

  void RunTokens(const fw_pool *pool, int64_t tokens, const float *x, const float *residual, float *y) const override {
    const TilePattern &pattern = matrix_.pattern;
    if (tokens <= FewTokens(pattern.block_rows)) {
      RunFew(pool, tokens, x, residual, y);
      return;
    }
    Product(std::max(pattern.rows, pattern.inputs), tokens, "the tokens");
    // Work that is done in about the time in which threads fetch each other's results stays on this one.
    const double products = static_cast<double>(pattern.columns.size()) * pattern.block_rows;
    if (products * static_cast<double>(tokens) < kSharedProducts) pool = &kAlone;
    const int64_t threads = Threads(pool);
    const std::shared_ptr<const LinearPlan> plan =
        plans_.Get({tokens, threads}, [&] { return MakePlan(tokens, threads, x); });
    ShareOut(pool, pattern, plan->tiles.count, false, [&](int64_t tile, int64_t first, int64_t last) {
      RunTile(*plan, x, residual, y, tile, first, last);
    });
  }

 private:
  std::shared_ptr<const LinearPlan> MakePlan(int64_t tokens, int64_t threads, const float *x) const {
    const TilePattern &pattern = matrix_.pattern;
    const auto make = [&](const Tile &tile) {
      LinearPlan plan{ColumnTiles(tokens, kernels_.lanes, tile.vectors), {}};
      const int64_t width = plan.tiles.WidestColumns();
      if (pattern.inputs * width > INT32_MAX)
        Fail("%lld inputs need a panel of more than 2^31 floats. Split the layer.",
             static_cast<long long>(pattern.inputs));
      plan.offsets.reserve(pattern.columns.size());
      for (const int32_t column : pattern.columns) plan.offsets.push_back(static_cast<int32_t>(column * width));
      return plan;
    };
    std::vector<Tile> candidates;
    for (const Tile &tile : ProductTiles(matrix_, kernels_, tokens))
      if (tile.pack) candidates.push_back(tile);
    // As many tiles for each thread: it then packs none that another packs too.
    const auto uneven = [&](const Tile &tile) {
      return ColumnTiles(tokens, kernels_.lanes, tile.vectors).count % threads != 0;
    };
    if (!std::all_of(candidates.begin(), candidates.end(), uneven))
      candidates.erase(std::remove_if(candidates.begin(), candidates.end(), uneven), candidates.end());
    // What a long text has beyond this is more of the same: one answer serves all of them.
    const int64_t shown = std::min<int64_t>(tokens, 512);
    char key[256];
    std::snprintf(key, sizeof key, "linear %lldx%lld r%d k%lld n%lld t%lld", static_cast<long long>(pattern.rows),
                  static_cast<long long>(pattern.inputs), pattern.block_rows,
                  static_cast<long long>(pattern.columns.size()), static_cast<long long>(shown),
                  static_cast<long long>(threads));
    AlignedArray<float> result;
    const Tile best = ChooseTile(key, candidates, [&](const Tile &tile) {
      const int64_t measured = MeasuredColumns(matrix_, kernels_, tokens);
      if (result == nullptr)
        result = MakeAligned<float>(
            static_cast<size_t>(pattern.rows * std::min(tokens, measured + kMaxVectors * int64_t{kernels_.lanes})));
      const LinearPlan plan = make(tile);
      for (int64_t i = 0; i < plan.tiles.count && plan.tiles.FirstColumn(i) < measured; ++i)
        RunTile(plan, x, nullptr, result.get(), i, 0, pattern.tile_rows);
    });
    return std::make_shared<const LinearPlan>(make(best));
  }

  // The tokens of one tile through block rows [first, last).
  void RunTile(const LinearPlan &plan, const float *x, const float *residual, float *y, int64_t tile, int64_t first,
               int64_t last) const {
    const TilePattern &pattern = matrix_.pattern;
    const int64_t width = plan.tiles.WidestColumns();
    const int64_t token = plan.tiles.FirstColumn(tile), tokens = plan.tiles.ColumnsOf(tile);
    const int vectors = plan.tiles.VectorsOf(tile);
    float *const panel = ThreadScratch<float>(Scratch::kPanel, static_cast<size_t>(pattern.inputs * width));
    kernels_.pack_tokens(x + token * pattern.inputs, pattern.inputs, pattern.inputs, tokens, panel, width);
    const SpmmKernel spmm = kernels_.spmm(pattern.block_rows, vectors, true);
    float *const turned = ThreadScratch<float>(Scratch::kTile, static_cast<size_t>(kTurnedRows * width));
    SpmmCall call;
    call.x = panel;
    call.offsets = plan.offsets.data();
    call.values = matrix_.values.get();
    call.starts = pattern.starts.data();
    call.ends = call.starts + 1;
    call.bias = matrix_.bias.get();
    call.y = turned;
    call.y_ld = width;
    call.residual = nullptr;
    call.residual_ld = 0;
    call.columns = static_cast<int64_t>(vectors) * kernels_.lanes;
    call.activation = FW_NONE;  // after the residual, which is added where tokens lie as they came
    const int64_t step = kTurnedRows / pattern.block_rows;
    for (int64_t row = first; row < last; row += step) {
      call.first = row;
      call.last = std::min(row + step, last);
      call.rows = (call.last - call.first) * pattern.block_rows;
      spmm(call);
      const int64_t from = row * pattern.block_rows;
      const int64_t place = token * pattern.rows + from;
      kernels_.store_tokens(turned, width, std::min(call.rows, pattern.rows - from), tokens,
                            residual == nullptr ? nullptr : residual + place, pattern.rows, y + place, pattern.rows,
                            activation_);
    }
  }

  void RunFew(const fw_pool *pool, int64_t tokens, const float *x, const float *residual, float *y) const {
    const TilePattern &pattern = matrix_.pattern;
    const GemvKernel gemv = kernels_.gemv(pattern.block_rows);
    GemvCall call;
    call.x = x;
    call.x_ld = pattern.inputs;
    call.columns = pattern.columns.data();
    call.values = matrix_.values.get();
    call.starts = pattern.starts.data();
    call.bias = matrix_.bias.get();
    call.rows = pattern.rows;
    call.tokens = tokens;
    call.y = y;
    call.y_ld = pattern.rows;
    call.residual = residual;
    call.activation = activation_;
    const int threads = Threads(pool);
    const std::vector<int64_t> cuts = CutBlockRows(pattern, threads == 1 ? 1 : 2 * threads);
    ParallelFor(pool, static_cast<int64_t>(cuts.size()) - 1, [&](int64_t part) {
      GemvCall own = call;
      own.first = cuts[static_cast<size_t>(part)];
      own.last = cuts[static_cast<size_t>(part) + 1];
      if (own.first < own.last) gemv(own);
    });
  }

  const SpmmKernels &kernels_;
  SparseMatrix matrix_;
  int32_t activation_;
  mutable Cache<std::array<int64_t, 2>, LinearPlan> plans_;
};

}  // namespace
}  // namespace flyweight

extern "C" int fw_linear_create(const fw_linear_spec *spec, fw_layer **out) {
  using namespace flyweight;
  return Guard("fw_linear_create", [&] {
    if (spec == nullptr || out == nullptr) Fail("got NULL for %s.", spec == nullptr ? "spec" : "out");
    *out = nullptr;
    *out = new Linear(*spec);
  });
}
