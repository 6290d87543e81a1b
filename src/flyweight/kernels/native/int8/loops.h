// What the integer loops are given, and the table of them that each instruction set fills. Plain data alone: this file
// is read by the files of single instruction sets, which share no inline code with anybody.
//
// A *lane* is one pixel of one group of four channels: four bytes. *Positions* count the lanes of a plane that was laid
// out with its padding; a vector of positions goes to the pixels of the output that its `Lanes` tell.
#ifndef FLYWEIGHT_INT8_LOOPS_H
#define FLYWEIGHT_INT8_LOOPS_H

#include <stdint.h>

namespace flyweight::int8 {

constexpr int kMostVectors = 6;

// Which positions of a vector are pixels of the output (bits), and the first of those pixels.
struct Lanes {
  int32_t place;
  uint32_t mask;
};

// y = max(low, saturate(round(min(acc * scale, top)) + zero)); top is y_high - zero. `plain` says that zero and low are
// 0, top is 255 and no acc * scale reaches 2^31: then saturating is all that there is to do.
struct Clamp {
  float top;
  int16_t zero;
  uint8_t low;
  bool plain;
};

// y = round(min(max((shift + a_scale * a) + b_scale * b, low), high)); 0 <= low, high <= 255.
// `plain` says that low is 0, high is 255 and no sum reaches 2^31: then saturating is all that there is to do.
struct Addition {
  float a_scale, b_scale, shift, low, high;
  bool plain;
};

// Tiles of some vectors of positions each, one beside another, through some groups of four rows of a convolution.
struct ConvTile {
  const uint8_t *x;        // the prepared planes, at the first tile's first position
  uint8_t *y;              // an image
  const int32_t *bias;     // (4 * groups), with what x_zero takes away already in it
  const float *scale;      // (4 * groups)
  const uint32_t *start;   // (groups + 1): a group's first block
  const int32_t *offset;   // (blocks): lanes from x to the block's inputs at the block's place of the kernel
  const int8_t *values;    // (blocks) of 16 bytes, or twice as many (Table::wide)
  const Lanes *lanes;      // (tiles * vectors)
  int64_t y_plane;         // lanes of a plane of y
  int32_t tiles;
  int32_t first_group, end_group;
  int32_t last;            // lanes that the last vector may read; 0: all
  Clamp clamp;
  const uint8_t *other;    // NULL, or an image like y that is added to the result
  bool second;             // the result is b of the addition, and the other image a
  Addition addition;
};

// One plane of four channels, each with its own kernel.
struct PlaneTile {
  const uint8_t *x;       // the prepared plane
  uint8_t *y;             // the plane of the result
  const int32_t *bias;    // (4)
  const float *scale;     // (4)
  const int32_t *offset;  // (taps, to a multiple of four): lanes from x
  const int8_t *values;   // (taps / 4) of 16 bytes: channel by channel, four taps each; or twice as many
  const Lanes *lanes;     // (vectors)
  int32_t taps, vectors;
  Clamp clamp;
};

// Where a plane's lanes are put: row r of `rows` and column c of `columns` is row r * stride_h - top and column
// c * stride_w - left of the image for r in [inner_top, inner_bottom) and c in [inner_left, inner_right), and `fill`
// elsewhere. Up to a vector more is written after the last row.
struct Layout {
  const uint8_t *x;
  uint8_t *y;
  int64_t width;                 // of the image
  int64_t rows, columns, pitch;  // of the plane; lanes from a row to the next
  int64_t top, left;
  int64_t stride_h, stride_w;
  int64_t inner_top, inner_bottom, inner_left, inner_right;
  uint8_t fill;
};

// The largest of 3x3 at every second row and column, of which a border of one pixel at most is beyond the image: there
// the image's edge is taken once more, which changes nothing.
struct HalvePlane {
  const uint8_t *x;
  uint8_t *y;
  uint8_t *room;  // 2 * `pitch` lanes: at least the width and two, and two vectors
  int64_t pitch, height, width, out_width;
  int64_t first, end;  // rows of the result
  int64_t top, left;   // 0 or 1
};

// Byte by byte.
struct AddRun {
  const uint8_t *a, *b;
  uint8_t *y;
  int64_t count;
  Addition addition;
};

// Lane i is round(min(max(x[k][i] / scale, low), high)) + zero for k = 0 to 3; 0 where x[k] is NULL. `inverse` is
// 1 / scale, `low` and `high` are the bounds of the results less zero: 256 apart at most.
struct Quantization {
  float scale, inverse, low, high;
  int32_t zero;
};
struct QuantizeRun {
  const float *x[4];
  uint8_t *y;
  int64_t count;
  Quantization by;
};

using ConvLoop = void (*)(const ConvTile &);
using PlaneLoop = void (*)(const PlaneTile &);

struct Table {
  int32_t lanes;                        // of a vector
  int32_t most;                         // vectors of a tile
  bool wide;                            // weights are taken as 16-bit pairs, not as bytes
  ConvLoop conv[kMostVectors + 1];      // by the number of vectors
  ConvLoop conv_part[kMostVectors + 1]; // the same, reading no further than `last`
  PlaneLoop plane;                      // any kernel
  PlaneLoop plane_3;                    // three rows (offset[0..2]) of three taps
  PlaneLoop plane_3_by_2;               // the same, at every second lane
  PlaneLoop largest;                    // the largest of the taps instead of their sum
  void (*halve)(const HalvePlane &);
  void (*lay)(const Layout &);
  void (*pack)(const uint8_t *const x[4], uint8_t *y, int64_t count);          // four planes into lanes
  void (*unpack)(const uint8_t *x, uint8_t *const y[4], int64_t count);
  // The first `channels` (1 to 3) bytes of lanes without gaps; up to a vector more is written.
  void (*tighten)(const uint8_t *x, int64_t channels, uint8_t *y, int64_t count);
  // Lane i is the four bytes at x + step * i; up to two vectors of bytes are read from each of them on.
  void (*every)(const uint8_t *x, int64_t step, uint8_t *y, int64_t count);
  void (*add)(const AddRun &);
  void (*quantize)(const QuantizeRun &);
  void (*sum)(const uint8_t *x, int64_t lanes, int32_t sums[4]);  // of the bytes of each channel
};

// One of each instruction set; which are there, and which is taken, is choose.cpp's to say.
const Table &Avx512VnniTable();
const Table &AvxVnniTable();
const Table &Avx2Table();
const Table &PortableTable();

// The table of the path in use.
const Table &ActiveTable();

}  // namespace flyweight::int8

#endif
