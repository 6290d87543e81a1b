#include "core/sparse_matrix.h"

#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/window.h"

namespace flyweight {
namespace {

using ll = long long;

// Sizes beyond this are taken for a mistake; it keeps every count of one matrix far from overflow.
constexpr int64_t kMostTiles = int64_t{1} << 40;

int64_t CountBits(const uint8_t *bytes, int64_t count) {
  int64_t bits = 0;
  for (int64_t i = 0; i < count; ++i) bits += __builtin_popcount(bytes[i]);
  return bits;
}

void CheckKeep(const fw_matrix &matrix, int64_t tiles, const char *what) {
  if (matrix.keep_bytes != CeilDivide(tiles, 8))
    Fail("%s.keep has %lld bytes, but %lld tiles need %lld. Pack one bit a tile, the last byte filled with zeros.",
         what, ll{matrix.keep_bytes}, ll{tiles}, ll{CeilDivide(tiles, 8)});
  const int over = static_cast<int>(matrix.keep_bytes * 8 - tiles);
  if (over > 0 && (matrix.keep[matrix.keep_bytes - 1] & ((1 << over) - 1)) != 0)
    Fail("%s.keep has bits set after its %lld tiles. Fill the last byte with zeros.", what, ll{tiles});
}

}  // namespace

int64_t Product(int64_t a, int64_t b, const char *what) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product))
    Fail("%s is %lld x %lld, beyond what can be counted. Give smaller sizes.", what, ll{a}, ll{b});
  return product;
}

TilePattern CheckMatrix(const fw_matrix &matrix, const char *what) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  if (matrix.rows < 1 || matrix.inputs < 1 || matrix.taps < 1 || matrix.rows > most || matrix.inputs > most ||
      matrix.taps > most)
    Fail("%s has rows=%lld, inputs=%lld, taps=%lld. Give each from 1 to %lld.", what, ll{matrix.rows},
         ll{matrix.inputs}, ll{matrix.taps}, ll{most});
  if (matrix.block_rows < 1 || matrix.block_columns < 1 || matrix.block_rows > 64 || matrix.block_columns > 64)
    Fail("%s has blocks of %dx%d. Give each side from 1 to 64.", what, matrix.block_rows, matrix.block_columns);
  TilePattern pattern{};
  pattern.rows = matrix.rows;
  pattern.inputs = matrix.inputs;
  pattern.taps = matrix.taps;
  pattern.block_rows = matrix.block_rows;
  pattern.block_columns = matrix.block_columns;
  pattern.tile_rows = CeilDivide(matrix.rows, matrix.block_rows);
  pattern.tile_columns = Product(matrix.taps, CeilDivide(matrix.inputs, matrix.block_columns), what);
  if (pattern.tile_columns > most)
    Fail("%s has %lld columns of blocks. Give at most %lld.", what, ll{pattern.tile_columns}, ll{most});
  const int64_t tiles = Product(pattern.tile_rows, pattern.tile_columns, what);
  if (tiles > kMostTiles) Fail("%s has %lld blocks. Give at most %lld.", what, ll{tiles}, ll{kMostTiles});
  if (matrix.keep != nullptr) CheckKeep(matrix, tiles, what);
  if (matrix.keep == nullptr && matrix.keep_bytes != 0)
    Fail("%s.keep is NULL but said to have %lld bytes. Give the bytes, or 0 to keep all.", what, ll{matrix.keep_bytes});
  const int64_t kept = matrix.keep == nullptr ? tiles : CountBits(matrix.keep, matrix.keep_bytes);
  const int64_t expected = kept * matrix.block_rows * matrix.block_columns;
  if (matrix.value_count != expected)
    Fail("%s has %lld values, but its %lld kept blocks of %dx%d need %lld. Store the kept blocks only, each whole.",
         what, ll{matrix.value_count}, ll{kept}, matrix.block_rows, matrix.block_columns, ll{expected});
  if (matrix.values == nullptr && expected > 0) Fail("%s.values is NULL, but %lld are needed.", what, ll{expected});
  pattern.starts.reserve(static_cast<size_t>(pattern.tile_rows) + 1);
  pattern.columns.reserve(static_cast<size_t>(kept));
  pattern.starts.push_back(0);
  for (int64_t row = 0, tile = 0; row < pattern.tile_rows; ++row) {
    for (int64_t column = 0; column < pattern.tile_columns; ++column, ++tile)
      if (matrix.keep == nullptr || (matrix.keep[tile >> 3] >> (7 - (tile & 7)) & 1) != 0)
        pattern.columns.push_back(static_cast<int32_t>(column));
    pattern.starts.push_back(static_cast<int64_t>(pattern.columns.size()));
  }
  return pattern;
}

SparseMatrix MakeSparseMatrix(const fw_matrix &matrix, const float *bias, const char *what) {
  const int32_t r = matrix.block_rows;
  if (matrix.block_columns != 1 || (r != 1 && r != 2 && r != 4 && r != 8 && r != 16))
    Fail("%s has blocks of %dx%d. Give 1x1, 2x1, 4x1, 8x1 or 16x1.", what, r, matrix.block_columns);
  SparseMatrix made{CheckMatrix(matrix, what), nullptr, nullptr};
  made.values = MakeAligned<float>(static_cast<size_t>(matrix.value_count));
  if (matrix.value_count > 0)
    std::memcpy(made.values.get(), matrix.values, static_cast<size_t>(matrix.value_count) * sizeof(float));
  const size_t padded = static_cast<size_t>(made.pattern.tile_rows * r);
  made.bias = MakeAligned<float>(padded);
  std::memset(made.bias.get(), 0, padded * sizeof(float));
  if (bias != nullptr) std::memcpy(made.bias.get(), bias, static_cast<size_t>(matrix.rows) * sizeof(float));
  return made;
}

void CheckActivation(int32_t activation) {
  if (activation < FW_NONE || activation > FW_GELU)
    Fail("got activation %d. Give one of fw_activation, 0 (none) to 4 (GELU).", activation);
}

}  // namespace flyweight
