// fw_block: runs a fused block on images, in one go on each thread where there are enough strips of rows, else in
// phases.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "core/cache.h"
#include "core/error.h"
#include "core/layer.h"
#include "core/pool.h"
#include "core/turns.h"
#include "core/tiles.h"
#include "core/window.h"
#include "float/block.h"
#include "float/product.h"

namespace flyweight {
namespace {

using ll = long long;

// Into so many runs of rows the sums are cut that go from part to part.
constexpr int64_t kTurns = 8;

class BlockLayer final : public fw_layer {
 public:
  explicit BlockLayer(const fw_block_spec &spec) : kernels_(Spmm()), weight_(MakeBlockWeight(spec)) {}

  const char *kind() const override { return "block"; }

  void OutputSize(int64_t height, int64_t width, int64_t out[3]) const override {
    const ImageSize size = WindowResult(weight_.depthwise.window, height, width);
    out[0] = weight_.rows();
    out[1] = size.height;
    out[2] = size.width;
  }

  void RunImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const float *x,
                const float *residual, float *y) const override {
    if (residual != nullptr) Fail("a block adds its own x where it is made so. Pass NULL for the residual.");
    Run(pool, batch, height, width, x, 1, y, false);
  }

  void RunCutImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const float *x, int64_t x_parts,
                   float *y, int64_t *y_parts) const override {
    if (x_parts < 1 || x_parts > height || (x_parts > 1 && !weight_.expand))
      Fail("x lies in %lld parts. Give 1, or where the block expands as many as x has rows at most.", ll{x_parts});
    *y_parts = Run(pool, batch, height, width, x, x_parts, y, *y_parts != 0);
  }

 private:
  float *Made(const BlockPlan &plan) const {
    return ThreadScratch<float>(Scratch::kBlock, static_cast<size_t>(plan.DepthwiseSize()));
  }
  float *Expanded(const BlockPlan &plan) const {
    return ThreadScratch<float>(Scratch::kTile, static_cast<size_t>(plan.ExpandedSize()));
  }

  // All images, x in parts of rows; gives the parts that y lies in, more than one only where it `may`: as many as
  // strips, where each thread has one.
  int64_t Run(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const float *x, int64_t x_parts,
              float *y, bool may) const {
    const int64_t threads = Threads(pool);
    const int64_t sharing = batch % threads == 0 ? 1 : threads;  // threads that work on the same image
    const std::shared_ptr<const BlockPlan> found =
        plans_.Get({height, width, sharing}, [&] { return MakePlan(height, width, sharing, x); });
    const BlockPlan &plan = *found;
    const int64_t x_size = weight_.inputs() * height * width;
    const int64_t y_size = weight_.rows() * plan.result().height * plan.result().width;
    if (plan.parts() > 1) {
      for (int64_t image = 0; image < batch; ++image)
        RunParts(pool, plan, x + image * x_size, x_parts, y + image * y_size);
      return 1;
    }
    const int64_t strips = plan.strips();
    const bool cut = may && strips > 1 && strips == sharing;
    // Strips share nothing, so threads need not wait for each other; but they must come out even.
    const int64_t whole = batch * strips >= 4 * threads ? batch * strips : batch * strips / threads * threads;
    ParallelFor(pool, whole, [&](int64_t item) {
      const int64_t image = item / strips;
      RunStrip(plan, x + image * x_size, x_parts, item % strips, cut, y + image * y_size);
    });
    for (int64_t item = whole; item < batch * strips; ++item) {
      const int64_t image = item / strips;
      if (x_parts > 1 || cut)  // (by one thread: rare, where there are more images than threads)
        RunStrip(plan, x + image * x_size, x_parts, item % strips, cut, y + image * y_size);
      else
        RunPhases(pool, plan, x + image * x_size, item % strips, y + image * y_size);
    }
    return cut ? strips : 1;
  }

  BlockInput Input(const BlockPlan &plan, const float *x, int64_t x_parts, int64_t strip) const {
    if (x_parts > 1) {
      const size_t size = static_cast<size_t>(plan.GatheredSize());
      return plan.Gather(x, x_parts, strip, ThreadScratch<float>(Scratch::kImage, size));
    }
    plan.Fetch(x, strip);
    return {x};
  }

  void RunStrip(const BlockPlan &plan, const float *x, int64_t x_parts, int64_t strip, bool cut, float *y) const {
    float *const made = Made(plan), *const expanded = Expanded(plan);
    const BlockInput input = Input(plan, x, x_parts, strip);
    for (int64_t group = 0; group < plan.groups(); ++group) plan.Make(input, strip, group, expanded, made);
    plan.Project(input, made, strip, {0, plan.tiles(strip)}, {0, weight_.project.matrix.pattern.tile_rows}, cut, y);
  }

  // A small image by all threads: each makes channels of its own, and adds what they give to each result where the part
  // before has added its own. The sums so go through the parts in order, some block rows behind each other.
  void RunParts(const fw_pool *pool, const BlockPlan &plan, const float *x, int64_t x_parts, float *y) const {
    const int64_t parts = plan.parts(), rows = weight_.project.matrix.pattern.tile_rows;
    const int64_t turns = std::min<int64_t>(rows, kTurns);
    std::vector<Turns> done(static_cast<size_t>(parts));
    std::atomic<int64_t> begun{0};
    // Parts are begun in order whoever comes first, so that none waits for one that will never be.
    ParallelFor(pool, parts, [&](int64_t) {
      const int64_t part = begun.fetch_add(1);
      const Turns::Ending ending{done[static_cast<size_t>(part)]};
      float *const made = Made(plan), *const expanded = Expanded(plan);
      const BlockInput input = Input(plan, x, x_parts, 0);
      const Range groups = plan.Groups(part);
      for (int64_t group = groups.first; group < groups.last; ++group) plan.Make(input, 0, group, expanded, made);
      for (int64_t turn = 0; turn < turns; ++turn) {
        if (part > 0) done[static_cast<size_t>(part) - 1].WaitFor(turn);
        plan.ProjectPart(input, made, part, {rows * turn / turns, rows * (turn + 1) / turns}, y);
        done[static_cast<size_t>(part)].Ended(turn);
      }
    });
  }

  // One strip by all threads: first its channels, then, when all of them are there, its columns.
  void RunPhases(const fw_pool *pool, const BlockPlan &plan, const float *x, int64_t strip, float *y) const {
    float *const made = Made(plan);
    ParallelFor(pool, plan.groups(), [&](int64_t group) { plan.Make({x}, strip, group, Expanded(plan), made); });
    const int64_t tiles = plan.tiles(strip);
    const std::vector<int64_t> cuts =
        CutBlockRows(weight_.project.matrix.pattern, (4 * Threads(pool) + tiles - 1) / tiles);
    const int64_t parts = static_cast<int64_t>(cuts.size()) - 1;
    ParallelFor(pool, tiles * parts, [&](int64_t task) {
      const size_t part = static_cast<size_t>(task % parts);
      const int64_t tile = task / parts;
      plan.Project({x}, made, strip, {tile, tile + 1}, {cuts[part], cuts[part + 1]}, false, y);
    });
  }

  std::shared_ptr<const BlockPlan> MakePlan(int64_t height, int64_t width, int64_t sharing, const float *x) const {
    const std::vector<BlockCut> cuts = BlockCuts(weight_, kernels_, height, width, sharing);
    const ImageSize result = WindowResult(weight_.depthwise.window, height, width);
    AlignedArray<float> y;
    const auto choose = [&](const char *what, const std::vector<BlockCut> &from, const std::vector<int> &numbers) {
      std::vector<Tile> tiles;  // the store keeps small numbers
      for (const int number : numbers) tiles.push_back({number, false});
      const Tile best = ChooseTile(Key(height, width, sharing) + what, tiles, [&](const Tile &tile) {
        if (y == nullptr) y = MakeAligned<float>(static_cast<size_t>(weight_.rows() * result.height * result.width));
        const size_t i = static_cast<size_t>(std::find(tiles.begin(), tiles.end(), tile) - tiles.begin());
        const BlockPlan plan(weight_, kernels_, height, width, from[i]);
        for (int64_t strip = 0; strip < plan.strips(); ++strip) RunStrip(plan, x, 1, strip, false, y.get());
      });
      return from[static_cast<size_t>(std::find(tiles.begin(), tiles.end(), best) - tiles.begin())];
    };
    std::vector<int> numbers(cuts.size());
    std::iota(numbers.begin(), numbers.end(), 1);
    BlockCut cut = choose(" cut", cuts, numbers);
    const auto refine = [&](const char *what, const BlockMatrix &part, int64_t columns, int BlockCut::*vectors) {
      const std::vector<int> wanted = BlockVectors(part, kernels_, columns / cut.strips);
      std::vector<BlockCut> refined(wanted.size(), cut);
      for (size_t i = 0; i < wanted.size(); ++i) refined[i].*vectors = wanted[i];
      cut = choose(what, refined, wanted);
    };
    if (weight_.expand) refine(" expand", *weight_.expand, height * width, &BlockCut::expand_vectors);
    refine(" project", weight_.project, result.height * result.width, &BlockCut::project_vectors);
    return std::make_shared<const BlockPlan>(weight_, kernels_, height, width, cut);
  }

  std::string Key(int64_t height, int64_t width, int64_t sharing) const {
    const TilePattern &project = weight_.project.matrix.pattern;
    const TilePattern *expand = weight_.expand ? &weight_.expand->matrix.pattern : nullptr;
    const fw_window &w = weight_.depthwise.window;
    char key[256];
    std::snprintf(key, sizeof key, "block %lldx%lldx%lld r%d r%d k%zu k%zu w%dx%d s%dx%d %lldx%lld t%lld",
                  ll{weight_.inputs()}, ll{weight_.depthwise.channels}, ll{weight_.rows()},
                  expand == nullptr ? 0 : expand->block_rows, project.block_rows,
                  expand == nullptr ? 0 : expand->columns.size(), project.columns.size(), w.kernel_h, w.kernel_w,
                  w.stride_h, w.stride_w, ll{height}, ll{width}, ll{sharing});
    return key;
  }

  const SpmmKernels &kernels_;
  BlockWeight weight_;
  mutable Cache<std::array<int64_t, 3>, BlockPlan> plans_;
};

}  // namespace
}  // namespace flyweight

extern "C" int fw_block_create(const fw_block_spec *spec, fw_layer **out) {
  using namespace flyweight;
  return Guard("fw_block_create", [&] {
    if (spec == nullptr || out == nullptr) Fail("got NULL for %s.", spec == nullptr ? "spec" : "out");
    *out = nullptr;
    *out = new BlockLayer(*spec);
  });
}
