// Y = act(W X + bias + residual) over the columns of an image, for one choice of tiles.
#ifndef FLYWEIGHT_FLOAT_PRODUCT_H
#define FLYWEIGHT_FLOAT_PRODUCT_H

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "core/kernels.h"
#include "core/pool.h"
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
  // One tile of block rows [first, last).
  void Run(const float *x, const float *residual, float *y, int64_t tile, int64_t first, int64_t last) const;
  // All of them, shared out.
  void RunAll(const fw_pool *pool, const float *x, const float *residual, float *y) const;

 private:
  int64_t PanelSize() const { return matrix_.pattern.tile_columns * tiles_.WidestColumns(); }  // floats of a tile's
  void Pack(const float *x, int64_t tile, float *panel) const;

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

// Shares run(tile, first, last), tiles of block rows [first, last), out evenly: whole tiles where their number allows
// it or, for one thread's results not to lie amid another's, `rows`. What a tile packs its thread packs itself, even
// if another does so too: to fetch a cache line that another processor has just written takes longer than to pack it.
template <class Run>
void ShareOut(const fw_pool *pool, const TilePattern &pattern, int64_t tiles, bool rows, const Run &run) {
  const int64_t threads = Threads(pool);
  if (threads == 1) {
    for (int64_t tile = 0; tile < tiles; ++tile) run(tile, 0, pattern.tile_rows);
    return;
  }
  const int64_t even = tiles >= 4 * threads ? 1 : threads / std::gcd(tiles, threads);
  const std::vector<int64_t> cuts = CutBlockRows(pattern, rows ? threads : even);
  ParallelFor(pool, tiles * (static_cast<int64_t>(cuts.size()) - 1), [&](int64_t task) {
    const size_t part = static_cast<size_t>(task / tiles);
    run(task % tiles, cuts[part], cuts[part + 1]);
  });
}

}  // namespace flyweight

#endif
