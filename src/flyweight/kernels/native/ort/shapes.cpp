#include "ort/shapes.h"

#include <atomic>

namespace flyweight::ort {
namespace {

// Equal names mean equal sizes to ONNX Runtime, so one that nobody named gets a name that nobody has.
std::string FreshName() {
  static std::atomic<uint64_t> count{0};
  return "flyweight_" + std::to_string(count++);
}

int64_t At(const std::vector<int64_t> &values, size_t index, int64_t missing) {
  return index < values.size() ? values[index] : missing;
}

}  // namespace

Shape Shapes::Input(size_t index) const {
  size_t inputs = 0;
  Invoke<kShapesInputCount>(api_, static_cast<const OrtShapeInferContext *>(context_), &inputs);
  if (index >= inputs) return {};
  OrtTensorTypeAndShapeInfo *info = nullptr;  // stays the context's
  if (!Succeeds<kShapesInput>(api_, static_cast<const OrtShapeInferContext *>(context_), index, &info) || !info) {
    return {};
  }
  size_t rank = 0;
  Invoke<kGetDimensionsCount>(api_, static_cast<const OrtTensorTypeAndShapeInfo *>(info), &rank);
  std::vector<int64_t> values(rank);
  std::vector<const char *> names(rank, nullptr);
  if (rank) {
    const auto *shape = static_cast<const OrtTensorTypeAndShapeInfo *>(info);
    Invoke<kGetDimensions>(api_, shape, values.data(), rank);
    Invoke<kGetSymbolicDimensions>(api_, shape, names.data(), rank);
  }
  Shape found(rank);
  for (size_t i = 0; i < rank; ++i) {
    const bool named = names[i] && names[i][0];
    found[i].value = named ? -1 : values[i];
    if (named) found[i].name = names[i];
  }
  return found;
}

void Shapes::Output(size_t index, Type type, const Shape &shape) const {
  std::vector<int64_t> values;
  std::vector<std::string> words;
  std::vector<const char *> names;
  for (const Size &size : shape) {
    values.push_back(size.value < 0 ? -1 : size.value);
    words.push_back(size.value >= 0 ? "" : size.name.empty() ? FreshName() : size.name);
  }
  for (const std::string &word : words) names.push_back(word.c_str());
  OrtTensorTypeAndShapeInfo *info = nullptr;
  Invoke<kCreateTensorTypeAndShapeInfo>(api_, &info);
  const auto *made = static_cast<const OrtTensorTypeAndShapeInfo *>(info);
  const bool set = Succeeds<kSetTensorElementType>(api_, info, static_cast<int>(type)) &&
                   Succeeds<kSetDimensions>(api_, info, static_cast<const int64_t *>(values.data()), values.size()) &&
                   Succeeds<kSetSymbolicDimensions>(api_, info, names.data(), names.size()) &&
                   Succeeds<kShapesSetOutput>(api_, static_cast<const OrtShapeInferContext *>(context_), index, made);
  Get<kReleaseTensorTypeAndShapeInfo>(api_)(info);
  if (!set) throw Failure{"ONNX Runtime does not take the shape of its output", kFail};
}

int64_t Shapes::Integer(const char *name) const {
  const OrtOpAttr *attribute = nullptr;
  const auto *context = static_cast<const OrtShapeInferContext *>(context_);
  if (!Succeeds<kShapesAttribute>(api_, context, name, &attribute) || !attribute) return -1;
  int64_t value = -1;
  size_t bytes = 0;
  void *out = &value;
  const auto type = static_cast<int>(kIntAttribute);
  return Succeeds<kReadOpAttr>(api_, attribute, type, out, sizeof value, &bytes) ? value : -1;
}

std::vector<int64_t> Shapes::Integers(const char *name) const {
  const OrtOpAttr *attribute = nullptr;
  const auto *context = static_cast<const OrtShapeInferContext *>(context_);
  if (!Succeeds<kShapesAttribute>(api_, context, name, &attribute) || !attribute) return {};
  std::vector<int64_t> values(8);
  size_t bytes = 0;
  void *out = values.data();
  if (!Succeeds<kReadOpAttr>(api_, attribute, static_cast<int>(kIntsAttribute), out, values.size() * sizeof(int64_t),
                             &bytes)) {
    return {};
  }
  values.resize(bytes / sizeof(int64_t));
  return values;
}

Size Windowed(const Shapes &shapes, const Size &size, size_t axis, const std::vector<int64_t> &kernel) {
  const std::vector<int64_t> pads = shapes.Integers("pads");
  const int64_t stride = At(shapes.Integers("strides"), axis, 1);
  const int64_t dilation = At(shapes.Integers("dilations"), axis, 1), taps = At(kernel, axis, 1);
  const int64_t before = At(pads, axis, 0), after = At(pads, axis + 2, 0);
  for (int64_t value : {stride, dilation, taps, before, after}) {
    if (value < 0 || value > INT32_MAX) return {};  // the kernel's making refuses them
  }
  const int64_t reach = dilation * (taps - 1), padded = before + after;
  if (stride == 1 && padded == reach) return size;
  if (size.value < 0 || stride < 1 || size.value + padded - reach < 1) return {};
  return {(size.value + padded - reach - 1) / stride + 1, ""};
}

}  // namespace flyweight::ort
