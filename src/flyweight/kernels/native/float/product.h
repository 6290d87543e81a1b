// Y = act(W X + bias + residual) over the columns of an image, for one choice of tiles.
#ifndef FLYWEIGHT_FLOAT_PRODUCT_H
#define FLYWEIGHT_FLOAT_PRODUCT_H

#include <cstdint>
#include <string>
#include <vector>

#include "core/kernels.h"
#include "core/sparse_matrix.h"
#include "core/tiles.h"
#include "float/columns.h"

namespace flyweight {

// Where the inputs of a product lie: input i of tap t at x + taps[t] + i * channel_ld, one column after the other.
struct Inputs {
  std::vector<int64_t> taps;
  int64_t channel_ld;
  bool padded;  // a vector beyond the last column may be read
};

// Immutable once made: what a size and a choice of tiles need, and the weight it belongs to.
class ImageProduct {
 public:
  // Rows of the result (and of what is added) lie y_ld apart. `matrix` and `kernels` must outlive it. Throws Error
  // where the inputs reach beyond what 32-bit offsets count.
  ImageProduct(const SparseMatrix &matrix, const SpmmKernels &kernels, int32_t activation, Inputs inputs,
               int64_t columns, int64_t y_ld, Tile tile);

  const ColumnTiles &tiles() const { return tiles_; }
  bool packs() const { return pack_; }
  // Floats of one tile's panel.
  int64_t PanelSize() const;
  // Rows [first, last) of the panel of a tile.
  void Pack(const float *x, int64_t tile, int64_t first, int64_t last, float *panel) const;
  // One tile of block rows [first, last). `panel` is the tile's, packed, or NULL: then it is packed here, if it has to
  // be.
  void Run(const float *x, const float *residual, float *y, int64_t tile, int64_t first, int64_t last,
           const float *panel) const;

 private:
  const SparseMatrix &matrix_;
  const SpmmKernels &kernels_;
  int32_t activation_;
  Inputs inputs_;
  int64_t y_ld_;
  ColumnTiles tiles_;
  bool pack_;
  std::vector<int32_t> offsets_;
};

// The candidates for a product of these blocks, the default first.
std::vector<Tile> ProductTiles(const SparseMatrix &matrix, const SpmmKernels &kernels, int64_t columns);

// How many of the columns to time a candidate on: enough to tell two apart, few enough that ten take some milliseconds.
int64_t MeasuredColumns(const SparseMatrix &matrix, const SpmmKernels &kernels, int64_t columns);

// Block rows cut into `count` runs of about as many kept blocks each: run i is [cuts[i], cuts[i + 1]).
std::vector<int64_t> CutBlockRows(const TilePattern &pattern, int64_t count);

}  // namespace flyweight

#endif
