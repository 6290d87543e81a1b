// Which cuts of a block are worth a trial.
#include <algorithm>

#include "core/window.h"
#include "float/block.h"
#include "float/product.h"

namespace flyweight {
namespace {

// Bytes of depthwise results in a strip: a part of the second cache, beside x and the result.
constexpr int64_t kStripBytes[] = {512 << 10, 1 << 20, 256 << 10};
// Bytes of expanded channels in a group: about the first cache, or a small part of the second.
constexpr int64_t kGroupBytes[] = {24 << 10, 96 << 10, 12 << 10};

// Strips meet rows of their neighbours', and each expands them for itself: so much more work is less than what threads
// lose by waiting for each other and by reading what another has made.
constexpr double kMostOverlap = 1.35;

// Below so many bytes of x and the result, threads take channels instead of strips: each then reads but a part of the
// weights and makes whole planes, and to hand x and sums from one to the other costs less than strips lose.
constexpr int64_t kPartBytes = 96 << 10;
constexpr int64_t kMostParts = 4;

}  // namespace

std::vector<BlockCut> BlockCuts(const BlockWeight &weight, const SpmmKernels &kernels, int64_t height, int64_t width,
                                int64_t threads) {
  const DepthwiseWeight &depthwise = weight.depthwise;
  const ImageSize result = WindowResult(depthwise.window, height, width);
  const int64_t block = weight.expand ? weight.expand->matrix.pattern.block_rows : 1;
  const int64_t row_bytes = depthwise.channels * result.width * int64_t{sizeof(float)};
  std::vector<BlockCut> cuts;
  for (const int64_t strip_bytes : kStripBytes) {
    for (const int64_t group_bytes : kGroupBytes) {
      BlockCut cut;
      cut.strips = std::clamp<int64_t>(CeilDivide(result.height * row_bytes, strip_bytes), 1, result.height);
      const int64_t shared = CeilDivide(cut.strips, threads) * threads;
      const int64_t overlap = std::max(0, depthwise.window.kernel_h - depthwise.window.stride_h);
      const int64_t bytes = (weight.inputs() * height * width + weight.rows() * result.height * result.width) *
                            int64_t{sizeof(float)};
      if (threads > 1 && bytes <= kPartBytes) {
        cut.strips = 1;
        cut.parts = std::min(threads, kMostParts);
      } else if (shared <= result.height &&
          static_cast<double>(height + (shared - 1) * overlap) <= kMostOverlap * static_cast<double>(height))
        cut.strips = shared;
      const int64_t rows = CeilDivide(result.height, cut.strips);
      const int64_t inputs = std::min(height, (rows - 1) * depthwise.window.stride_h + depthwise.window.kernel_h);
      const int64_t fitting = group_bytes / (inputs * width * int64_t{sizeof(float)});
      const int64_t blocks = CeilDivide(depthwise.channels, block);
      cut.group = std::clamp<int64_t>(fitting / block, 1, blocks) * block;
      const int64_t groups = CeilDivide(CeilDivide(depthwise.channels, cut.group), cut.parts) * cut.parts;
      cut.group = std::min(cut.group, CeilDivide(blocks, groups) * block);  // as many for each part
      if (weight.expand) cut.expand_vectors = BlockVectors(*weight.expand, kernels, inputs * width)[0];
      cut.project_vectors = BlockVectors(weight.project, kernels, rows * result.width)[0];
      const bool known = std::any_of(cuts.begin(), cuts.end(), [&](const BlockCut &other) {
        return other.strips == cut.strips && other.group == cut.group;
      });
      if (!known) cuts.push_back(cut);
    }
  }
  return cuts;
}

std::vector<int> BlockVectors(const BlockMatrix &part, const SpmmKernels &kernels, int64_t columns) {
  std::vector<int> vectors;
  for (const Tile &tile : ProductTiles(part.matrix, kernels, columns))
    if (std::find(vectors.begin(), vectors.end(), tile.vectors) == vectors.end()) vectors.push_back(tile.vectors);
  return vectors;
}

}  // namespace flyweight
