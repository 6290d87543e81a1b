#include "ort/weights.h"

namespace flyweight::ort {
namespace {

constexpr int64_t kMost = INT32_MAX;

const Constant &Sized(const Constant &found, int64_t rows, const char *name) {
  if (found.data && found.count != rows) {
    throw Failure{std::string("its ") + name + " has " + std::to_string(found.count) + " numbers, and " +
                      std::to_string(rows) + " rows. Export the file again.",
                  kInvalidGraph};
  }
  return found;
}

}  // namespace

fw_window WindowOf(const Node &node, int64_t kernel_h, int64_t kernel_w) {
  const auto strides = node.IntegersOr("strides", {1, 1}, 1, kMost);
  const auto dilations = node.IntegersOr("dilations", {1, 1}, 1, kMost);
  const auto pads = node.IntegersOr("pads", {0, 0, 0, 0}, 0, kMost);
  const auto narrow = [](int64_t value) { return static_cast<int32_t>(value); };
  return {narrow(kernel_h),     narrow(kernel_w),     narrow(strides[0]), narrow(strides[1]), narrow(dilations[0]),
          narrow(dilations[1]), narrow(pads[0]),      narrow(pads[1]),    narrow(pads[2]),    narrow(pads[3])};
}

fw_window WindowOf(const Node &node) {
  const auto kernel = node.IntegersOr("kernel_shape", {1, 1}, 1, kMost);
  return WindowOf(node, kernel[0], kernel[1]);
}

fw_matrix MatrixOf(const Node &node, size_t values, Type type, const char *block, int64_t rows, int64_t inputs,
                    int64_t taps) {
  const auto tile = node.Integers(block, 2, 1, kMost);
  const Constant numbers = node.ReadConstant(values, type);
  const Constant keep = node.ReadOptional(values + 1, kUint8);
  fw_matrix matrix{};
  matrix.rows = rows;
  matrix.inputs = inputs;
  matrix.taps = taps;
  matrix.block_rows = static_cast<int32_t>(tile[0]);
  matrix.block_columns = static_cast<int32_t>(tile[1]);
  matrix.values = numbers.data;
  matrix.value_count = numbers.count;
  matrix.keep = keep.As<uint8_t>();
  matrix.keep_bytes = keep.data ? keep.count : 0;
  return matrix;
}

const float *VectorOf(const Node &node, size_t input, int64_t rows, const char *name) {
  return Sized(node.ReadOptional(input, kFloat), rows, name).As<float>();
}

const int32_t *IntegersOf(const Node &node, size_t input, int64_t rows, const char *name) {
  return Sized(node.ReadOptional(input, kInt32), rows, name).As<int32_t>();
}

Constant DepthwiseWeight(const Node &node, size_t input, Type type) {
  Constant weight = node.ReadConstant(input, type);
  const auto &shape = weight.shape;
  bool fits = shape.size() == 4 && shape[1] == 1;
  for (int64_t size : shape) fits = fits && size >= 1 && size <= kMost;
  if (!fits) {
    throw Failure{
        "its weight is " + List(shape) + " and has to be [channels, 1, height, width]. Export the file again.",
        kInvalidGraph};
  }
  return weight;
}

void CheckImage(const Tensor &x, int64_t channels) {
  if (x.rank == 4 && x.shape[1] == channels) return;
  throw Failure{"its x is " + x.Text() + " and has to be [batch, " + std::to_string(channels) + ", height, width]"};
}

void CheckImage4(const Tensor &x, int64_t channels) {
  const int64_t groups = (channels + 3) / 4;
  if (x.rank == 5 && x.shape[1] == groups && x.shape[4] == 4) return;
  throw Failure{"its x is " + x.Text() + " and has to be [batch, " + std::to_string(groups) +
                ", height, width, 4] (" + std::to_string(channels) + " channels in c4)"};
}

}  // namespace flyweight::ort
