#include "ort/node.h"

#include <algorithm>

#include "flyweight_kernels.h"

namespace flyweight::ort {
namespace {

const char *TypeName(int type) {
  switch (type) {
    case kFloat: return "float";
    case kUint8: return "uint8";
    case kInt8: return "int8";
    case kInt32: return "int32";
    default: return "another type";
  }
}

// The numbers of a shape multiplied; a constant tensor lies in memory, so the product fits.
int64_t Product(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

}  // namespace

std::string List(const int64_t *numbers, size_t count) {
  std::string text = "[";
  for (size_t i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(numbers[i]);
  return text + "]";
}

std::string List(const std::vector<int64_t> &numbers) { return List(numbers.data(), numbers.size()); }

Node::Node(const OrtApi *api, const OrtKernelInfo *info, const char *operation, const char *const *inputs)
    : api_(api), info_(info), operation_(operation), inputs_(inputs) {}

Node Node::Part(int64_t place, const char *operation, const char *const *names, std::vector<int64_t> inputs) const {
  Node part(api_, info_, operation, names);
  part.prefix_ = std::to_string(place) + ".";
  part.part_ = true;
  part.places_ = std::move(inputs);
  return part;
}

int64_t Node::Place(size_t input) const {
  if (!part_) return static_cast<int64_t>(input);
  return input < places_.size() ? places_[input] : -1;
}

std::string Node::Title() const {
  char name[256] = "";
  size_t size = sizeof name;
  if (part_) return std::string(operation_) + " " + prefix_.substr(0, prefix_.size() - 1);
  if (!Succeeds<kInfoNodeName>(api_, info_, name, &size) || !name[0]) return operation_;
  return std::string(operation_) + " '" + name + "'";
}

const OrtLogger *Node::logger() const {
  const OrtLogger *logger = nullptr;
  Invoke<kInfoGetLogger>(api_, info_, &logger);
  return logger;
}

bool Node::Has(size_t index) const {
  const int64_t place = Place(index);
  if (place < 0) return place < -1;  // of a part: what another part gives
  size_t count = 0;
  const size_t input = static_cast<size_t>(place);
  Invoke<kInfoInputCount>(api_, info_, &count);
  if (input >= count) return false;
  size_t size = 0;
  Invoke<kInfoInputName>(api_, info_, input, nullptr, &size);
  return size > 1;  // a missing one in the middle has the empty name, and its end counts
}

Constant Node::ReadConstant(size_t input, Type type) const {
  if (!Has(input)) {
    throw Failure{std::string("its input '") + inputs_[input] + "' is missing. Export the file again.", kInvalidGraph};
  }
  int is_constant = 0;
  const OrtValue *value = nullptr;
  Invoke<kInfoConstantInput>(api_, info_, static_cast<size_t>(Place(input)), &is_constant, &value);
  if (!is_constant || !value) {
    throw Failure{std::string("its input '") + inputs_[input] +
                      "' is computed, or an input of the file, and has to be an initializer: weights are packed when "
                      "the file is opened. Open it with graph optimizations (ORT_ENABLE_BASIC or more), which compute "
                      "what is constant; or store it in the file.",
                  kInvalidGraph};
  }
  OrtTensorTypeAndShapeInfo *shape = nullptr;
  Invoke<kGetTensorTypeAndShape>(api_, value, &shape);
  Constant found;
  size_t rank = 0;
  bool read = Succeeds<kGetTensorElementType>(api_, shape, &found.type) &&
              Succeeds<kGetDimensionsCount>(api_, shape, &rank);
  if (read) {
    found.shape.resize(rank);
    read = Succeeds<kGetDimensions>(api_, shape, found.shape.data(), rank);
  }
  Get<kReleaseTensorTypeAndShapeInfo>(api_)(shape);
  if (!read) throw Failure{std::string("the shape of its input '") + inputs_[input] + "' cannot be read", kFail};
  if (found.type != type) {
    throw Failure{std::string("its input '") + inputs_[input] + "' is " + TypeName(found.type) + " and has to be " +
                      TypeName(type) + ". Export the file again.",
                  kInvalidGraph};
  }
  found.count = Product(found.shape);
  void *data = nullptr;
  // The function is the only one to give the memory, writable or not; it is only read.
  Invoke<kGetTensorMutableData>(api_, const_cast<OrtValue *>(value), &data);
  found.data = data;
  return found;
}

Constant Node::ReadOptional(size_t input, Type type) const {
  if (!Has(input)) return {};
  Constant found = ReadConstant(input, type);
  if (!found.count) found.data = nullptr;
  return found;
}

bool Node::Absent(const char *name) const {
  int64_t integer;
  float number;
  size_t size = 0;
  const std::string told = Told(name);
  const char *const text = told.c_str();
  return !Succeeds<kInfoGetInt>(api_, info_, text, &integer) && !Succeeds<kInfoGetFloat>(api_, info_, text, &number) &&
         !Succeeds<kInfoGetInts>(api_, info_, text, nullptr, &size) &&
         !Succeeds<kInfoGetFloats>(api_, info_, text, nullptr, &size) &&
         !Succeeds<kInfoGetString>(api_, info_, text, nullptr, &size);
}

int64_t Node::Integer(const char *name) const {
  int64_t value = 0;
  if (!Succeeds<kInfoGetInt>(api_, info_, Told(name).c_str(), &value)) {
    throw Failure{"it needs the attribute '" + Told(name) + "', an integer. Export the file again.",
                  kInvalidGraph};
  }
  return value;
}

int64_t Node::Integer(const char *name, int64_t low, int64_t high) const {
  const int64_t value = Integer(name);
  if (value < low || value > high) {
    throw Failure{"its attribute " + Told(name) + "=" + std::to_string(value) + " has to lie in [" +
                      std::to_string(low) + ", " + std::to_string(high) + "]. Export the file again.",
                  kInvalidGraph};
  }
  return value;
}

int64_t Node::IntegerOr(const char *name, int64_t missing, int64_t low, int64_t high) const {
  return Absent(name) ? missing : Integer(name, low, high);
}

std::vector<int64_t> Node::Integers(const char *name, size_t count, int64_t low, int64_t high) const {
  size_t size = 0;
  std::vector<int64_t> values;
  bool read = Succeeds<kInfoGetInts>(api_, info_, Told(name).c_str(), nullptr, &size) && size == count;
  if (read) {
    values.resize(size);
    read = Succeeds<kInfoGetInts>(api_, info_, Told(name).c_str(), values.data(), &size);
  }
  if (!read) {
    throw Failure{"it needs the attribute '" + Told(name) + "', " + std::to_string(count) + " integers" +
                      (size && size != count ? ", and has " + std::to_string(size) : "") + ". Export the file again.",
                  kInvalidGraph};
  }
  for (int64_t value : values) {
    if (value >= low && value <= high) continue;
    throw Failure{"its attribute " + Told(name) + "=" + List(values) + " has to lie in [" +
                      std::to_string(low) + ", " + std::to_string(high) + "]. Export the file again.",
                  kInvalidGraph};
  }
  return values;
}

std::vector<int64_t> Node::AllIntegers(const char *name, size_t fewest, size_t most, int64_t low,
                                       int64_t high) const {
  size_t size = 0;
  if (!Succeeds<kInfoGetInts>(api_, info_, Told(name).c_str(), nullptr, &size)) size = 0;
  return Integers(name, std::min(std::max(size, fewest), most), low, high);
}

std::vector<int64_t> Node::IntegersOr(const char *name, std::vector<int64_t> missing, int64_t low,
                                       int64_t high) const {
  return Absent(name) ? missing : Integers(name, missing.size(), low, high);
}

float Node::Number(const char *name) const {
  float value = 0;
  if (!Succeeds<kInfoGetFloat>(api_, info_, Told(name).c_str(), &value)) {
    throw Failure{"it needs the attribute '" + Told(name) + "', a float. Export the file again.",
                  kInvalidGraph};
  }
  return value;
}

float Node::NumberOr(const char *name, float missing) const { return Absent(name) ? missing : Number(name); }

std::string Node::TextOrEmpty(const char *name) const {
  size_t size = 0;
  if (!Succeeds<kInfoGetString>(api_, info_, Told(name).c_str(), nullptr, &size)) {
    if (Absent(name)) return "";
    throw Failure{"its attribute '" + Told(name) + "' has to be a string. Export the file again.",
                  kInvalidGraph};
  }
  std::string text(size, '\0');
  Invoke<kInfoGetString>(api_, info_, Told(name).c_str(), text.data(), &size);
  return text.c_str();  // without the end that was counted
}

int32_t Node::Activation(const char *name) const {
  static constexpr const char *kNames[] = {"", "Relu", "Relu6", "HardSwish", "Gelu"};
  const std::string text = TextOrEmpty(name);
  for (int32_t kind = FW_NONE; kind <= FW_GELU; ++kind) {
    if (text == kNames[kind]) return kind;
  }
  throw Failure{"its attribute " + Told(name) + "='" + text +
                    "' is none of '', 'Relu', 'Relu6', 'HardSwish', 'Gelu'. Export the file again.",
                kInvalidGraph};
}

}  // namespace flyweight::ort
