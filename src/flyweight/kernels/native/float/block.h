// The fused block: expand (1x1) -> depthwise -> project (1x1).
#ifndef FLYWEIGHT_FLOAT_BLOCK_H
#define FLYWEIGHT_FLOAT_BLOCK_H

#include <cstdint>
#include <optional>
#include <vector>

#include "core/kernels.h"
#include "core/sparse_matrix.h"
#include "float/columns.h"
#include "float/depthwise.h"
#include "flyweight_kernels.h"

namespace flyweight {

// A 1x1 convolution inside the block.
struct BlockMatrix {
  SparseMatrix matrix;
  int32_t activation;
};

// What a description says, checked and copied.
struct BlockWeight {
  std::optional<BlockMatrix> expand;
  DepthwiseWeight depthwise;
  BlockMatrix project;
  bool residual;

  int64_t inputs() const { return expand ? expand->matrix.pattern.inputs : depthwise.channels; }
  int64_t rows() const { return project.matrix.pattern.rows; }
};

// Throws Error where the three don't fit together.
BlockWeight MakeBlockWeight(const fw_block_spec &spec);

struct Range {
  int64_t first, last;  // without the last
};

// What a block reads, for one strip: the image itself, or of each channel the rows that the strip meets.
struct BlockInput {
  const float *x;
  bool gathered = false;
};

// How the work is cut. The result is the same bit for bit with all of them.
struct BlockCut {
  int64_t strips = 1;      // of rows of the result
  int64_t parts = 1;       // of the channels between expand and depthwise, where there is one strip
  int64_t group = 1;       // channels between expand and depthwise at once, a multiple of the expand's blocks
  int expand_vectors = 1;  // a tile of columns
  int project_vectors = 1;
};

// What a size of image and a cut need; immutable once made. `weight` must outlive it.
class BlockPlan {
 public:
  BlockPlan(const BlockWeight &weight, const SpmmKernels &kernels, int64_t height, int64_t width, BlockCut cut);

  const ImageSize &result() const { return result_; }
  int64_t strips() const { return cut_.strips; }
  int64_t groups() const { return groups_; }
  int64_t parts() const { return cut_.parts; }
  int64_t tiles(int64_t strip) const { return ProjectTiles(strip).count; }

  // Floats of what a thread needs for expanded channels, and of a strip's depthwise results.
  int64_t ExpandedSize() const { return expanded_size_; }
  int64_t DepthwiseSize() const { return depthwise_size_; }

  // Asks for what a strip needs of x all at once: of a small image much lies with another processor, that made it, and
  // to wait for one line after another would take longer than to compute on them.
  void Fetch(const float *x, int64_t strip) const;
  // Brings together what a strip needs of an image that lies cut into `x_parts` parts of rows (fw_block_run).
  BlockInput Gather(const float *x, int64_t x_parts, int64_t strip, float *rows) const;
  int64_t GatheredSize() const { return weight_.inputs() * gathered_ld_; }
  // The groups of channels that a part has.
  Range Groups(int64_t part) const { return {groups_ * part / cut_.parts, groups_ * (part + 1) / cut_.parts}; }
  // Depthwise results of one strip and one group of channels, into the strip's `made`.
  void Make(const BlockInput &x, int64_t strip, int64_t group, float *expanded, float *made) const;
  // Tiles of the strip's columns of y, and of them block rows, from what all groups have made. With `cut`, y lies cut
  // into strips.
  void Project(const BlockInput &x, const float *made, int64_t strip, Range tiles, Range rows, bool cut,
               float *y) const;
  // Block rows of all columns, of the sums that go over a part's channels: from the bias on, or from what the part
  // before has left in y; the last part adds what is to be added.
  void ProjectPart(const BlockInput &x, const float *made, int64_t part, Range rows, float *y) const;

 private:
  Range ResultRows(int64_t strip) const;
  Range MetRows(const Range &result) const;  // by the depthwise kernel, some perhaps beyond the image
  Range Inside(const Range &rows) const;
  ColumnTiles ProjectTiles(int64_t strip) const;
  void Expand(const BlockInput &x, const Range &rows, int64_t first, int64_t last, float *expanded) const;

  const BlockWeight &weight_;
  const SpmmKernels &kernels_;
  BlockCut cut_;
  int64_t height_, width_;
  ImageSize result_;
  int64_t groups_, expanded_ld_ = 0, gathered_ld_ = 0, made_ld_, expanded_size_ = 0, depthwise_size_;
  std::vector<int32_t> expand_offsets_, gathered_offsets_, project_offsets_;
  std::vector<std::vector<int64_t>> part_starts_;  // of a part and a block row: the first block; one part more
  AlignedArray<float> zeros_;
  DepthwiseLoop loop_;
};

// Cuts worth a trial, the default first: in strips and groups of several sizes, each with the default tiles. One image
// is to be shared by `threads`.
std::vector<BlockCut> BlockCuts(const BlockWeight &weight, const SpmmKernels &kernels, int64_t height, int64_t width,
                                int64_t threads);
// Vectors worth a trial in the tiles of a part, the default first.
std::vector<int> BlockVectors(const BlockMatrix &part, const SpmmKernels &kernels, int64_t columns);

}  // namespace flyweight

#endif
