// How a window goes over planes of lanes: each plane is laid out with its border, cut into the rows and columns that a
// stride meets (*phases*), so that every tap becomes one distance, and neighbouring positions are neighbours in memory.
#ifndef FLYWEIGHT_INT8_GEOMETRY_H
#define FLYWEIGHT_INT8_GEOMETRY_H

#include <cstdint>
#include <vector>

#include "core/window.h"
#include "flyweight_kernels.h"
#include "int8/loops.h"

namespace flyweight::int8 {

// Of the numbers of a window, and of the sides of its kernel: distances are counted in 32 bits.
constexpr int64_t kMostWindow = kLongestSide / 16, kMostKernel = 1024;

struct Geometry {
  int64_t height = 0, width = 0;          // of the image
  int64_t out_height = 0, out_width = 0;  // of the result, or of the rows of it that were wished for
  int64_t first = 0;                      // of those rows
  bool direct = false;                    // planes are read where they lie
  int64_t plane = 0;                      // lanes of a plane, with all of its phases
  int64_t positions = 0, vectors = 0;
  std::vector<int32_t> taps;              // a place of the kernel: lanes from a position
  std::vector<Lanes> lanes;               // (vectors)
  std::vector<Layout> phases;             // x, y and fill are left to the call; y is told as a distance in `starts`
  std::vector<int64_t> starts;            // (phases): the lane of the plane where one begins

  // Puts the plane of an image at x into room for `plane` lanes at y. `lay` is the loop of the table in use.
  void Lay(void (*lay)(const Layout &), const uint8_t *x, uint8_t *y, uint8_t fill) const;
};

// What a geometry is made for.
struct Wish {
  int32_t vector;          // lanes of a vector
  bool by_two = false;     // columns keep together, and positions are every second lane of a row
  bool direct = false;     // planes may be read where they lie, where they need no border
  int64_t first = 0;       // of the result, `rows` rows from this one on; all of them where rows is 0
  int64_t rows = 0;
};
// Which positions of its vectors are pixels, where rows of the result are `pitch` positions apart.
void MakeLanes(Geometry &geometry, int64_t pitch, int32_t vector);
Geometry MakeGeometry(const fw_window &window, int64_t height, int64_t width, const Wish &wish);

// Into how many pieces of neighbouring rows a result of `rows` of `width` is cut, so that each of `threads` reads and
// writes memory of its own, layer after layer; 1 where that is too little for each of them.
int64_t PiecesOfRows(int threads, int64_t rows, int64_t width, int32_t vector);

}  // namespace flyweight::int8

#endif
