// What the loops of one instruction set offer to the rest: plain structs and function pointers, no standard library,
// for this file is included where the compiler may use instructions that the machine lacks.
//
// A family of loops has a table of its own (this one: float SpMM and what feeds it). Another family adds its own
// header, its own `<family>_<isa>.cpp` files and picks by ActiveIsa().
#ifndef FLYWEIGHT_CORE_KERNELS_H
#define FLYWEIGHT_CORE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

namespace flyweight {

enum class Isa : int { kPortable = 0, kAvx2 = 1, kAvx512 = 2 };

// The instruction set in use: the best of this processor, or what FLYWEIGHT_KERNELS asks for; chosen once. Throws Error
// where that one is unknown or missing here.
Isa ActiveIsa();
// Whether byte products (AVX512-VNNI beside kAvx512, AVX-VNNI beside kAvx2) are there too.
bool ActiveVnni();

// Columns of the result that one call makes at most, in vectors.
constexpr int kMaxVectors = 8;

// One column tile of Y = act(W X + bias + residual), for block rows [first, last) of W (blocks of block_rows x 1).
// What belongs to the weight is indexed from its beginning, what belongs to the tile from the tile's.
// Every column sums bias first, then its blocks in order, whatever the tile: results agree bit for bit.
struct SpmmCall {
  const float *x;          // the tile's first column
  const int32_t *offsets;  // a block: from x to its input's first column, in elements
  const float *values;     // a block: its block_rows weights
  const int64_t *starts;   // block row i sums blocks [starts[i], ends[i])
  const int64_t *ends;
  const float *bias;    // last * block_rows of them at least; NULL to go on from the sums that y holds
  int64_t first, last;  // block rows
  int64_t rows;         // stored, from row first * block_rows on; the rest of the last block is dropped
  float *y;                // row first * block_rows, the tile's first column
  int64_t y_ld;            // elements from a row to the next
  const float *residual;   // placed as y is, or NULL
  int64_t residual_ld;
  int64_t columns;     // (vectors - 1) * lanes < columns <= vectors * lanes
  int32_t activation;  // fw_activation
};
typedef void (*SpmmKernel)(const SpmmCall &call);

// A few tokens at once, lanes along the rows: y[t][row] for block rows [first, last).
struct GemvCall {
  const float *x;  // (tokens, inputs)
  int64_t x_ld;
  const int32_t *columns;  // a block: its input
  const float *values;
  const int64_t *starts;
  const float *bias;
  int64_t first, last;
  int64_t rows;  // of the whole matrix
  int64_t tokens;
  float *y;  // (tokens, rows), row 0
  int64_t y_ld;
  const float *residual;  // placed as y is, or NULL
  int32_t activation;
};
typedef void (*GemvKernel)(const GemvCall &call);

struct SpmmKernels {
  int lanes;  // floats in a vector

  // The loop for tiles of `vectors` vectors; `padded` says that x may be read (not only up to `columns`, but) to the
  // end of the last vector. NULL where this instruction set has too few registers.
  SpmmKernel (*spmm)(int block_rows, int vectors, bool padded);
  GemvKernel (*gemv)(int block_rows);

  // panel[r] = x[r][0, columns), then zeros to the end of the last vector, for `count` rows.
  void (*pack_rows)(const float *x, int64_t x_ld, int64_t count, int64_t columns, float *panel, int64_t panel_ld);
  // panel[i][t] = x[t][i] for t < tokens, then zeros to the end of the last vector, for `inputs` rows of the panel.
  void (*pack_tokens)(const float *x, int64_t x_ld, int64_t inputs, int64_t tokens, float *panel, int64_t panel_ld);
  // y[t][r] = act(tile[r][t] + residual[t][r]) for r < rows, t < tokens; tile has rows rounded up to lanes readable.
  void (*store_tokens)(const float *tile, int64_t tile_ld, int64_t rows, int64_t tokens, const float *residual,
                       int64_t residual_ld, float *y, int64_t y_ld, int32_t activation);
  // y[r][c] = x[r * x_ld + (c - left) * stride] for c in [left, left + count), zero elsewhere up to `width`, row after
  // row without gaps. Nothing between two taken elements beyond the last of a row is read.
  void (*copy_rows)(const float *x, int64_t x_ld, int64_t stride, int64_t rows, int64_t left, int64_t count,
                    int64_t width, float *y);
  // y[i] = x[i + shift] where mask[i] is all ones, zero where it is none; mask is none where i + shift is below 0 or not
  // below count.
  void (*shift_plane)(const float *x, int64_t count, int64_t shift, const uint32_t *mask, float *y);
};

const SpmmKernels &Spmm();  // of the instruction set in use

namespace portable {
extern const SpmmKernels kSpmm;
}
namespace avx2 {
extern const SpmmKernels kSpmm;
}
namespace avx512 {
extern const SpmmKernels kSpmm;
}

}  // namespace flyweight

#endif
