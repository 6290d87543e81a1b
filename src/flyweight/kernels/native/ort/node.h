// A node of the file while its kernel is made: its attributes and its constant inputs, read and checked.
#ifndef FLYWEIGHT_ORT_NODE_H
#define FLYWEIGHT_ORT_NODE_H

#include <string>
#include <vector>

#include "ort/status.h"

namespace flyweight::ort {

// A constant tensor. It is ONNX Runtime's memory, and to be read only while the kernel is made.
struct Constant {
  const void *data = nullptr;
  int type = kNoType;
  std::vector<int64_t> shape;
  int64_t count = 0;

  template <class Number>
  const Number *As() const {
    return static_cast<const Number *>(data);
  }
};

class Node {
 public:
  // `inputs` are the names of the operation's inputs, for messages.
  Node(const OrtApi *api, const OrtKernelInfo *info, const char *operation, const char *const *inputs);

  // One of the operations that this one is made of: its attributes are called `<place>.<name>` here, and its input i is
  // this one's input inputs[i], of which those below zero are none of its constants.
  Node Part(int64_t place, const char *operation, const char *const *names, std::vector<int64_t> inputs) const;

  // "SparseConv 'features.3.conv'", or without a name "SparseConv".
  std::string Title() const;
  const OrtApi *api() const { return api_; }
  const OrtLogger *logger() const;

  // Whether the file gives the input at all.
  bool Has(size_t input) const;
  // A constant of the type; raises where the file computes it, where it is missing, or has another type.
  Constant ReadConstant(size_t input, Type type) const;
  // The same of an input that may be missing; its `data` is null then. An empty tensor is no tensor.
  Constant ReadOptional(size_t input, Type type) const;

  int64_t Integer(const char *name) const;
  int64_t Integer(const char *name, int64_t low, int64_t high) const;
  int64_t IntegerOr(const char *name, int64_t missing, int64_t low, int64_t high) const;
  // Exactly `count` numbers, each in [low, high].
  std::vector<int64_t> Integers(const char *name, size_t count, int64_t low, int64_t high) const;
  std::vector<int64_t> IntegersOr(const char *name, std::vector<int64_t> missing, int64_t low, int64_t high) const;
  // As many as there are, at least `fewest` and at most `most` of them.
  std::vector<int64_t> AllIntegers(const char *name, size_t fewest, size_t most, int64_t low, int64_t high) const;
  float Number(const char *name) const;
  float NumberOr(const char *name, float missing) const;
  std::string TextOrEmpty(const char *name) const;
  // A name of fw_activation's: "", "Relu", "Relu6", "HardSwish", "Gelu"; absent is "".
  int32_t Activation(const char *name) const;

 private:
  // Whether no attribute of any type has the name.
  bool Absent(const char *name) const;
  // The attribute's name in the file.
  std::string Told(const char *name) const { return prefix_ + name; }
  // Where an input is among the file's; below zero where it is not.
  int64_t Place(size_t input) const;

  const OrtApi *api_;
  const OrtKernelInfo *info_;
  const char *operation_;
  const char *const *inputs_;
  std::string prefix_;
  bool part_ = false;
  std::vector<int64_t> places_;  // of a part
};

// "[8, 3, 3]"
std::string List(const int64_t *numbers, size_t count);
std::string List(const std::vector<int64_t> &numbers);

}  // namespace flyweight::ort

#endif
