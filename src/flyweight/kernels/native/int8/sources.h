// What layers show of themselves to a block that goes its own way through an image.
#ifndef FLYWEIGHT_INT8_SOURCES_H
#define FLYWEIGHT_INT8_SOURCES_H

#include <cstdint>
#include <vector>

#include "int8/geometry.h"
#include "int8/loops.h"

namespace flyweight::int8 {

struct ConvView {
  bool point;  // 1x1 without a border, at every place
  int64_t rows, inputs, groups, input_groups;
  std::vector<int32_t> columns;  // (blocks): input groups, where it is such
  ConvTile tile;                 // all that depends on the weights alone
  bool sums;
  uint8_t x_zero;
};

class ConvSource {
 public:
  virtual ConvView View() const = 0;

 protected:
  ~ConvSource() = default;
};

class PlaneSource {
 public:
  virtual int64_t Channels() const = 0;
  virtual const fw_window &Window() const = 0;
  virtual bool ByTwo() const = 0;  // as a Wish has it
  virtual uint8_t Fill() const = 0;
  virtual std::vector<int32_t> Offsets(const std::vector<int32_t> &taps) const = 0;
  virtual void Run(PlaneTile &call, int64_t group) const = 0;

 protected:
  ~PlaneSource() = default;
};

// Tiles of equally many vectors, one beside another.
struct Run {
  int32_t first, vectors, tiles;
  bool last;  // the one tile behind whose end nothing may be read
};

// Vectors [begin, end) in tiles of at most `most`, at `bytes` that are read a vector, as many together as the nearest
// cache holds; with `partly` the last tile may not read all of its last vector.
void AddRuns(std::vector<Run> &runs, int64_t begin, int64_t end, int32_t most, int64_t bytes, bool partly);

}  // namespace flyweight::int8

#endif
