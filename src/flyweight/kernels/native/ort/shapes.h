// The shapes around a node while ONNX Runtime infers those of the whole file: sizes, names of sizes, or neither known.
#ifndef FLYWEIGHT_ORT_SHAPES_H
#define FLYWEIGHT_ORT_SHAPES_H

#include <string>
#include <vector>

#include "ort/status.h"

namespace flyweight::ort {

struct Size {
  int64_t value = -1;  // below zero where it is not known
  std::string name;    // of an unknown one, where the file names it
};

using Shape = std::vector<Size>;

class Shapes {
 public:
  Shapes(const OrtApi *api, OrtShapeInferContext *context) : api_(api), context_(context) {}

  // The shape of an input; empty where it is not known, or missing.
  Shape Input(size_t index) const;
  void Output(size_t index, Type type, const Shape &shape) const;
  // An attribute; -1, or an empty list, where it is absent. What is wrong with it the kernel's making will say.
  int64_t Integer(const char *name) const;
  std::vector<int64_t> Integers(const char *name) const;

 private:
  const OrtApi *api_;
  OrtShapeInferContext *context_;
};

// Height or width after a window, along one axis (0 or 1) of attributes kernel_shape, strides, dilations and pads.
Size Windowed(const Shapes &shapes, const Size &size, size_t axis, const std::vector<int64_t> &kernel);

}  // namespace flyweight::ort

#endif
