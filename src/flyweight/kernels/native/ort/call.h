// One run of a node: its tensors, and ONNX Runtime's own threads as the library's pool.
#ifndef FLYWEIGHT_ORT_CALL_H
#define FLYWEIGHT_ORT_CALL_H

#include "flyweight_kernels.h"
#include "ort/node.h"
#include "ort/threads.h"

namespace flyweight::ort {

constexpr size_t kMostRank = 8;

struct Tensor {
  const void *data = nullptr;
  size_t rank = 0;
  int64_t shape[kMostRank] = {};

  template <class Number>
  const Number *As() const {
    return static_cast<const Number *>(data);
  }
  std::string Text() const { return List(shape, rank); }
};

class Call {
 public:
  Call(const OrtApi *api, OrtKernelContext *context, Threads &threads)
      : api_(api), context_(context), pool_{threads.Count(api, context), this, &Call::ShareOut} {}
  Call(const Call &) = delete;
  Call &operator=(const Call &) = delete;

  // Reads an input; false where the node has none there.
  bool Read(size_t index, Tensor *tensor) const;
  // Makes the output of that shape; its numbers are to be written.
  template <class Number>
  Number *Output(const int64_t *shape, size_t rank) {
    return static_cast<Number *>(OutputData(shape, rank));
  }
  const fw_pool *pool() const { return &pool_; }

 private:
  static void ShareOut(void *context, int64_t tasks, void (*task)(void *, int64_t), void *argument);
  void *OutputData(const int64_t *shape, size_t rank);

  const OrtApi *api_;
  OrtKernelContext *context_;
  fw_pool pool_;
};

// Raises what the library says of a call that failed.
inline void Check(int status) {
  if (status) throw Failure{fw_error()};
}

}  // namespace flyweight::ort

#endif
