// The depthwise loops of one instruction set: plain structs and function pointers, no standard library (see
// core/kernels.h).
#ifndef FLYWEIGHT_FLOAT_DEPTHWISE_LOOPS_H
#define FLYWEIGHT_FLOAT_DEPTHWISE_LOOPS_H

#include <stddef.h>
#include <stdint.h>

namespace flyweight {

// Rows [first, last) of the result of `channels` planes that lie evenly in memory. Where the kernel reaches beyond the
// plane it meets zeros. Every output sums its bias first, then its taps row after row: however the work is cut, the
// results agree bit for bit.
struct DepthwiseCall {
  int64_t channels;
  const float *x;           // of the first plane, the row number x_first
  int64_t x_plane;          // elements from a plane to the next
  int64_t x_first, x_last;  // rows that are there; those between them and the plane's own are taken for zeros
  int64_t width;            // elements in a row, and from a row to the next
  const float *zeros;       // `width` of them
  const float *weight;      // (channels, kernel_h, kernel_w)
  const float *bias;        // (channels)
  float *y;                 // of the first plane, the row number `first`
  int64_t y_plane, y_ld;
  int64_t first, last, out_width;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t activation;  // fw_activation
  bool loose;          // x may be read 64 floats beyond its ends, where it holds anything
};
typedef void (*DepthwiseLoop)(const DepthwiseCall &call);

struct DepthwiseLoops {
  // The loop for such a window, the fastest there is.
  DepthwiseLoop (*choose)(const DepthwiseCall &call);
};

const DepthwiseLoops &DepthwiseInUse();  // of the instruction set in use

namespace portable {
extern const DepthwiseLoops kDepthwise;
}
namespace avx2 {
extern const DepthwiseLoops kDepthwise;
}
namespace avx512 {
extern const DepthwiseLoops kDepthwise;
}

}  // namespace flyweight

#endif
