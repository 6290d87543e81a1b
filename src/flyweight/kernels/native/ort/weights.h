// Descriptions of layers, read from a node's attributes and initializers. Only what would be read past its end is
// checked here (the library cannot know how long an array is); the rest it checks itself when it makes the layer.
#ifndef FLYWEIGHT_ORT_WEIGHTS_H
#define FLYWEIGHT_ORT_WEIGHTS_H

#include "ort/call.h"

namespace flyweight::ort {

// Rows, inputs and channels that an attribute may tell; memory ends before them.
constexpr int64_t kMostRows = int64_t{1} << 31;

// A kernel's reach, from `kernel_shape` and the attributes beside it; 1x1 without padding where they are absent.
fw_window WindowOf(const Node &node);
// The same around a kernel whose shape the weight tells.
fw_window WindowOf(const Node &node, int64_t kernel_h, int64_t kernel_w);

// A matrix of which input `values` holds the tiles and the next one the bits; `block` names the attribute of its tiles.
fw_matrix MatrixOf(const Node &node, size_t values, Type type, const char *block, int64_t rows, int64_t inputs,
                    int64_t taps);

// A vector of `rows` numbers; nullptr where the node has none.
const float *VectorOf(const Node &node, size_t input, int64_t rows, const char *name);
const int32_t *IntegersOf(const Node &node, size_t input, int64_t rows, const char *name);

// A depthwise weight, (channels, 1, height, width).
Constant DepthwiseWeight(const Node &node, size_t input, Type type);

// Raises where an image is not (batch, channels, height, width).
void CheckImage(const Tensor &x, int64_t channels);
// Raises where an image in c4 is not (batch, ceil(channels / 4), height, width, 4).
void CheckImage4(const Tensor &x, int64_t channels);

}  // namespace flyweight::ort

#endif
