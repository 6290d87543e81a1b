#include "float/product.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/fetch.h"
#include "core/scratch.h"

namespace flyweight {
namespace {

int32_t Offset(int64_t elements) {
  if (elements > std::numeric_limits<int32_t>::max())
    Fail("the image needs %lld floats at once, more than 2^31. Run smaller images, or cut it.",
         static_cast<long long>(elements));
  return static_cast<int32_t>(elements);
}

// The most vectors up to `wanted` that the instruction set has a loop for.
int Fitting(const SpmmKernels &kernels, int block_rows, int wanted) {
  while (wanted > 1 && kernels.spmm(block_rows, wanted, true) == nullptr) --wanted;
  return wanted;
}

}  // namespace

ImageProduct::ImageProduct(const SparseMatrix &matrix, const SpmmKernels &kernels, int32_t activation, Inputs inputs,
                           int64_t columns, int64_t y_ld, Tile tile)
    : matrix_(matrix),
      kernels_(kernels),
      activation_(activation),
      inputs_(std::move(inputs)),
      y_ld_(y_ld),
      tiles_(columns, kernels.lanes, tile.vectors),
      pack_(tile.pack) {
  const TilePattern &pattern = matrix.pattern;
  const int64_t width = tiles_.WidestColumns();
  if (pack_) {
    Offset(Product(pattern.tile_columns, width, "the panel"));
  } else {
    Offset(inputs_.taps.back() + Product(pattern.inputs, inputs_.channel_ld, "the image"));
  }
  offsets_.reserve(pattern.columns.size());
  for (const int32_t column : pattern.columns) {
    if (pack_)
      offsets_.push_back(Offset(column * width));
    else
      offsets_.push_back(Offset(inputs_.taps[static_cast<size_t>(column / pattern.inputs)] +
                                column % pattern.inputs * inputs_.channel_ld));
  }
}

void ImageProduct::Pack(const float *x, int64_t tile, float *panel) const {
  const int64_t inputs = matrix_.pattern.inputs, width = tiles_.WidestColumns();
  const int64_t begin = tiles_.FirstColumn(tile), columns = tiles_.ColumnsOf(tile);
  for (const int64_t tap : inputs_.taps) {
    kernels_.pack_rows(x + tap + begin, inputs_.channel_ld, inputs, columns, panel, width);
    panel += inputs * width;
  }
}

void ImageProduct::RunAll(const fw_pool *pool, const float *x, const float *residual, float *y) const {
  // Where rows are no multiple of a cache line, two tiles meet amid one, in every row.
  constexpr int64_t kLine = 16, kPackedARow = 1024;
  const int64_t packed = pack_ ? PanelSize() * tiles_.count * Threads(pool) : 0;
  const bool rows = y_ld_ % kLine != 0 && packed <= kPackedARow * matrix_.pattern.rows;
  ShareOut(pool, matrix_.pattern, tiles_.count, rows,
           [&](int64_t tile, int64_t first, int64_t last) { Run(x, residual, y, tile, first, last); });
}

void ImageProduct::Run(const float *x, const float *residual, float *y, int64_t tile, int64_t first,
                       int64_t last) const {
  const TilePattern &pattern = matrix_.pattern;
  const float *panel = nullptr;
  if (pack_) {
    float *const own = ThreadScratch<float>(Scratch::kPanel, static_cast<size_t>(PanelSize()));
    Pack(x, tile, own);
    panel = own;
  }
  const int64_t begin = tiles_.FirstColumn(tile);
  // Where threads share rows, each reads what all of them have made.
  if (!pack_ && last - first < pattern.tile_rows && inputs_.taps.size() == 1)
    FetchRows(x + begin, inputs_.channel_ld, pattern.inputs, tiles_.ColumnsOf(tile));
  const int64_t row = first * pattern.block_rows;
  const int64_t place = row * y_ld_ + begin;
  SpmmCall call;
  call.x = pack_ ? panel : x + begin;
  call.offsets = offsets_.data();
  call.values = matrix_.values.get();
  call.starts = pattern.starts.data();
  call.ends = call.starts + 1;
  call.bias = matrix_.bias.get();
  call.first = first;
  call.last = last;
  call.rows = std::min(last * pattern.block_rows, pattern.rows) - row;
  call.y = y + place;
  call.y_ld = y_ld_;
  call.residual = residual == nullptr ? nullptr : residual + place;
  call.residual_ld = y_ld_;
  call.columns = tiles_.ColumnsOf(tile);
  call.activation = activation_;
  const int vectors = tiles_.VectorsOf(tile);
  const bool padded = pack_ || inputs_.padded || call.columns == static_cast<int64_t>(vectors) * kernels_.lanes;
  kernels_.spmm(pattern.block_rows, vectors, padded)(call);
}

std::vector<Tile> ProductTiles(const SparseMatrix &matrix, const SpmmKernels &kernels, int64_t columns) {
  const int block = matrix.pattern.block_rows;
  // What was the fastest in most cases first: as many vectors as leave the multiplications the bottleneck.
  std::vector<int> wanted;
  switch (block) {
    case 1:
    case 2:
      wanted = {8, 6, 4, 3, 2};
      break;
    case 4:
      wanted = {4, 6, 3, 2, 1};
      break;
    case 8:
      wanted = {3, 6, 4, 2, 1};
      break;
    default:
      wanted = {3, 2, 1, 6, 4};
  }
  std::vector<Tile> tiles;
  // Packing costs one pass over the inputs; it is the better guess where many rows share it.
  const bool first = matrix.pattern.rows >= 64;
  for (const bool pack : {first, !first}) {
    for (const int vectors : wanted) {
      const Tile tile{Fitting(kernels, block, vectors), pack};
      // Two that cut the columns alike are one.
      const bool known = std::any_of(tiles.begin(), tiles.end(), [&](const Tile &other) {
        return other.pack == pack && ColumnTiles(columns, kernels.lanes, other.vectors).count ==
                                         ColumnTiles(columns, kernels.lanes, tile.vectors).count;
      });
      if (!known) tiles.push_back(tile);
    }
  }
  return tiles;
}

int64_t MeasuredColumns(const SparseMatrix &matrix, const SpmmKernels &kernels, int64_t columns) {
  constexpr double kProducts = 8e6;
  const double column = static_cast<double>(matrix.pattern.columns.size() + 1) * matrix.pattern.block_rows;
  const int64_t least = 2 * int64_t{kMaxVectors} * kernels.lanes;
  return std::min(columns, std::max(least, static_cast<int64_t>(kProducts / column)));
}

std::vector<int64_t> CutBlockRows(const TilePattern &pattern, int64_t count) {
  count = std::max<int64_t>(1, std::min(count, pattern.tile_rows));
  std::vector<int64_t> cuts{0};
  // A row costs its blocks and, for its epilogue, about two more.
  const auto cost = [&](int64_t row) { return pattern.starts[static_cast<size_t>(row)] + 2 * row; };
  const int64_t all = cost(pattern.tile_rows);
  for (int64_t i = 1; i < count; ++i) {
    int64_t row = cuts.back(), end = pattern.tile_rows;  // the first row before which i / count of the cost lies
    while (row < end) {
      const int64_t middle = row + (end - row) / 2;
      if (cost(middle) * count < all * i)
        row = middle + 1;
      else
        end = middle;
    }
    cuts.push_back(row);
  }
  cuts.push_back(pattern.tile_rows);
  return cuts;
}

}  // namespace flyweight
