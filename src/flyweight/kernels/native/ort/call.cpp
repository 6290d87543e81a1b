#include "ort/call.h"

namespace flyweight::ort {
namespace {

struct Share {
  void (*task)(void *, int64_t);
  void *argument;
};

}  // namespace

bool NodeCall::Read(size_t index, Tensor *tensor) const {
  const OrtValue *value = nullptr;
  Invoke<kContextGetInput>(api_, static_cast<const OrtKernelContext *>(context_), index, &value);
  if (!value) return false;
  OrtTensorTypeAndShapeInfo *info = nullptr;
  Invoke<kGetTensorTypeAndShape>(api_, value, &info);
  const auto *shape = static_cast<const OrtTensorTypeAndShapeInfo *>(info);
  size_t rank = 0;
  const bool known = Succeeds<kGetTensorElementType>(api_, shape, &tensor->type) &&
                     Succeeds<kGetDimensionsCount>(api_, shape, &rank) && rank <= kMostRank &&
                     Succeeds<kGetDimensions>(api_, shape, static_cast<int64_t *>(tensor->shape), rank);
  Get<kReleaseTensorTypeAndShapeInfo>(api_)(info);
  if (!known) {
    throw Failure{"input " + std::to_string(index) + " has " + std::to_string(rank) + " axes, and at most " +
                  std::to_string(kMostRank) + " are taken. Merge some of them."};
  }
  tensor->rank = rank;
  void *data = nullptr;
  // The function is the only one to give the memory, writable or not; it is only read.
  Invoke<kGetTensorMutableData>(api_, const_cast<OrtValue *>(value), &data);
  tensor->data = data;
  return true;
}

void *NodeCall::OutputData(const int64_t *shape, size_t rank) {
  OrtValue *value = nullptr;
  Invoke<kContextGetOutput>(api_, context_, size_t{0}, shape, rank, &value);
  void *data = nullptr;
  Invoke<kGetTensorMutableData>(api_, value, &data);
  return data;
}

void NodeCall::ShareOut(void *context, int64_t tasks, void (*task)(void *, int64_t), void *argument) {
  const NodeCall &self = *static_cast<const NodeCall *>(context);
  if (tasks < 2 || self.pool_.threads < 2) {
    for (int64_t i = 0; i < tasks; ++i) task(argument, i);
    return;
  }
  Share share{task, argument};
  const auto run = [](void *given, size_t index) {
    const Share &work = *static_cast<const Share *>(given);
    work.task(work.argument, static_cast<int64_t>(index));
  };
  Succeeds<kContextParallelFor>(self.api_, static_cast<const OrtKernelContext *>(self.context_), +run,
                                static_cast<size_t>(tasks), size_t{0}, static_cast<void *>(&share));
}

}  // namespace flyweight::ort
