// Images of few channels, as a network's first layer reads them: of a lane's four bytes one or more would be wasted.
// Here a lane holds four neighbouring bytes of an image row without gaps (places and channels together), and what is
// left at the end of each row of the kernel shares lanes with the rows below: 7x7 of three channels take 37 lanes, not
// 49.
#ifndef FLYWEIGHT_INT8_PACKED_H
#define FLYWEIGHT_INT8_PACKED_H

#include <cstdint>
#include <vector>

#include "core/pool.h"
#include "flyweight_kernels.h"
#include "int8/geometry.h"
#include "int8/loops.h"

namespace flyweight::int8 {

class Packing {
 public:
  Packing() = default;
  Packing(const fw_window &window, int64_t channels);

  // Whether the window's lanes become fewer.
  bool gains() const { return gains_; }
  int64_t columns() const { return window_.kernel_h * whole_ + shared_; }
  int64_t planes() const { return planes_ * window_.stride_h + (shared_ != 0); }
  // Which weight meets a byte of a column: 4 * place of the kernel + channel; -1: none.
  int64_t Weight(int64_t column, int64_t byte) const;

  // `taps` are those of the columns; there are no phases, for Lay below takes their place.
  Geometry Plan(int64_t height, int64_t width, const Wish &wish) const;
  void Lay(const Table &table, const fw_pool *pool, const Geometry &geometry, const uint8_t *x, uint8_t *y,
           uint8_t fill) const;

 private:
  struct Sizes {
    int64_t rows, pitch;   // of a plane of whole lanes, of which there are planes_ * stride_h
    int64_t shared_rows;   // of the one plane of shared lanes
    int64_t plane, first;  // lanes of a plane; where the plane of shared lanes begins
  };
  Sizes SizesOf(int64_t out_height, int64_t out_width) const;
  void LayRow(const Table &table, const Geometry &geometry, const uint8_t *x, uint8_t *bytes, int64_t length,
              int64_t row, uint8_t fill) const;

  fw_window window_{};
  int64_t channels_ = 0;
  bool gains_ = false;
  int64_t step_ = 0;    // bytes from one position to the next
  int64_t period_ = 0;  // positions after which lanes repeat, `planes_` lanes further
  int64_t planes_ = 0;
  int64_t whole_ = 0;   // lanes of a row of the kernel
  int64_t rest_ = 0;    // bytes of it that share lanes with other rows'
  int64_t sharing_ = 1; // rows that share a lane
  int64_t shared_ = 0;  // shared lanes
};

}  // namespace flyweight::int8

#endif
