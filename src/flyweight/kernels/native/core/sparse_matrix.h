// The weight of a layer as the loops read it: for each row of tiles, the tiles that are kept.
#ifndef FLYWEIGHT_CORE_SPARSE_MATRIX_H
#define FLYWEIGHT_CORE_SPARSE_MATRIX_H

#include <cstdint>
#include <vector>

#include "core/scratch.h"
#include "flyweight_kernels.h"

namespace flyweight {

// Where the kept tiles of a checked fw_matrix lie; says nothing of their values.
struct TilePattern {
  int64_t rows, inputs, taps;
  int32_t block_rows, block_columns;
  int64_t tile_rows;             // ceil(rows / block_rows)
  int64_t tile_columns;          // taps * ceil(inputs / block_columns)
  std::vector<int64_t> starts;   // tile row i owns tiles [starts[i], starts[i + 1])
  std::vector<int32_t> columns;  // a tile: its column of tiles; a tap's come before the next tap's
};

// Checks all that a matrix says of itself: sizes, products that overflow, bits that are set against values that are
// there, bits after the last. Throws Error; `what` names the weight in its text ("weight", "expand.weight").
TilePattern CheckMatrix(const fw_matrix &matrix, const char *what);

// A checked matrix of floats in blocks of R x 1 with its bias, copied.
struct SparseMatrix {
  TilePattern pattern;
  AlignedArray<float> values;  // block after block, block_rows each
  AlignedArray<float> bias;    // tile_rows * block_rows, zeros where there is none
};

// Throws Error where the matrix is wrong, or its blocks are none of {1, 2, 4, 8, 16} x 1.
SparseMatrix MakeSparseMatrix(const fw_matrix &matrix, const float *bias, const char *what);

// Throws Error where it is no fw_activation.
void CheckActivation(int32_t activation);

// a * b; throws Error that names `what` where that is beyond int64.
int64_t Product(int64_t a, int64_t b, const char *what);

}  // namespace flyweight

#endif
