// How many threads an ONNX Runtime session works with. Nothing in its interface tells, so they are counted where the
// session runs for the first time: by tasks that wait for each other, a few milliseconds at the most. A session of one
// thread is known without waiting.
#ifndef FLYWEIGHT_ORT_THREADS_H
#define FLYWEIGHT_ORT_THREADS_H

#include <atomic>
#include <cstdint>
#include <memory>

#include "ort/api.h"

namespace flyweight::ort {

class Threads {
 public:
  // At least 1; once it is known, one atomic load.
  int32_t Count(const OrtApi *api, const OrtKernelContext *context) {
    const int32_t known = known_.load(std::memory_order_acquire);
    return known ? known : Find(api, context);
  }

 private:
  int32_t Find(const OrtApi *api, const OrtKernelContext *context);

  std::atomic<int32_t> known_{0};
  std::atomic<int32_t> tries_{0};
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

// One for all the kernels of a session, which is told apart by its logger.
std::shared_ptr<Threads> ThreadsOf(const OrtLogger *session);

}  // namespace flyweight::ort

#endif
