// Cutting the columns of a product into tiles.
#ifndef FLYWEIGHT_FLOAT_COLUMNS_H
#define FLYWEIGHT_FLOAT_COLUMNS_H

#include <cstdint>

namespace flyweight {

// Columns in vectors, spread evenly: 13 vectors in tiles of at most 4 are 4 + 3 + 3 + 3, not 4 + 4 + 4 + 1.
struct ColumnTiles {
  ColumnTiles(int64_t columns, int lanes, int most_vectors)
      : columns(columns),
        lanes(lanes),
        count((Vectors() + most_vectors - 1) / most_vectors),
        least(Vectors() / count),
        wider(Vectors() % count) {}

  int64_t Vectors() const { return (columns + lanes - 1) / lanes; }
  int VectorsOf(int64_t tile) const { return static_cast<int>(least + (tile < wider ? 1 : 0)); }
  int64_t FirstColumn(int64_t tile) const { return (tile * least + (tile < wider ? tile : wider)) * lanes; }
  int64_t ColumnsOf(int64_t tile) const {
    const int64_t first = FirstColumn(tile), whole = static_cast<int64_t>(VectorsOf(tile)) * lanes;
    return first + whole <= columns ? whole : columns - first;
  }
  int64_t WidestColumns() const { return (least + (wider > 0 ? 1 : 0)) * lanes; }

  int64_t columns;
  int lanes;
  int64_t count;  // tiles
  int64_t least;  // vectors of the narrow ones
  int64_t wider;  // so many, the first ones, have one vector more
};

}  // namespace flyweight

#endif
