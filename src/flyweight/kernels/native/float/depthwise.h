// A depthwise convolution: each channel with a kernel of its own.
#ifndef FLYWEIGHT_FLOAT_DEPTHWISE_H
#define FLYWEIGHT_FLOAT_DEPTHWISE_H

#include "core/layer.h"
#include "core/scratch.h"
#include "core/window.h"
#include "float/depthwise_loops.h"

namespace flyweight {

// What a description says, checked and copied; the block has one too.
struct DepthwiseWeight {
  int64_t channels;
  fw_window window;
  AlignedArray<float> weight, bias;
  int32_t activation;

  // A call for planes of (height, width), of which the caller still says: which channels and rows, and where they lie.
  DepthwiseCall Call(int64_t width, int64_t out_width) const;
};

// Throws Error; `what` names the layer in its text.
DepthwiseWeight MakeDepthwise(const fw_depthwise_spec &spec, const char *what);

AlignedArray<float> Zeros(int64_t count);

}  // namespace flyweight

#endif
