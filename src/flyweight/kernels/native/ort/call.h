// One run of a node: its tensors, and the threads that carry it out: as a rule ONNX Runtime's own.
#ifndef FLYWEIGHT_ORT_CALL_H
#define FLYWEIGHT_ORT_CALL_H

#include "flyweight_kernels.h"
#include "ort/node.h"
#include "ort/threads.h"

namespace flyweight::ort {

constexpr size_t kMostRank = 8;

struct Tensor {
  const void *data = nullptr;
  int type = kNoType;
  size_t rank = 0;
  int64_t shape[kMostRank] = {};
  int64_t parts = 1;  // of rows in which an image lies: see fw_block_run

  template <class Number>
  const Number *As() const {
    return static_cast<const Number *>(data);
  }
  std::string Text() const { return List(shape, rank); }
};

class Call {
 public:
  Call() = default;
  Call(const Call &) = delete;
  Call &operator=(const Call &) = delete;

  // Reads an input; false where the node has none there.
  virtual bool Read(size_t index, Tensor *tensor) const = 0;
  // Makes the output of that shape; its numbers are to be written.
  template <class Number>
  Number *Output(const int64_t *shape, size_t rank) {
    return static_cast<Number *>(OutputData(shape, rank));
  }
  virtual const fw_pool *pool() const = 0;
  // Whether all that read the result take an image in parts; and that it is one.
  virtual bool MayCut() const { return false; }
  virtual void Cut(int64_t) {}

 protected:
  ~Call() = default;
  virtual void *OutputData(const int64_t *shape, size_t rank) = 0;
};

// That of a node of the file.
class NodeCall final : public Call {
 public:
  NodeCall(const OrtApi *api, OrtKernelContext *context, Threads &threads)
      : api_(api), context_(context), pool_{threads.Count(api, context), this, &NodeCall::ShareOut} {}

  bool Read(size_t index, Tensor *tensor) const override;
  const fw_pool *pool() const override { return &pool_; }

 private:
  static void ShareOut(void *context, int64_t tasks, void (*task)(void *, int64_t), void *argument);
  void *OutputData(const int64_t *shape, size_t rank) override;

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
