// Work shared out over threads: those of the caller's fw_pool, or the library's own.
#ifndef FLYWEIGHT_CORE_POOL_H
#define FLYWEIGHT_CORE_POOL_H

#include <atomic>
#include <exception>

#include "flyweight_kernels.h"

namespace flyweight {

// Threads that ParallelFor would use.
int Threads(const fw_pool *pool);

// The library's own: calls task(argument, i) for each i, on this thread and on sleeping workers. Where they are busy
// with another call (or this is one of them), this thread does all of it, so that threads never outnumber fw_threads().
void RunOwnPool(int64_t tasks, void (*task)(void *argument, int64_t index), void *argument);

// Calls body(i) for each i in [0, tasks), perhaps at once; an exception of any is thrown here when all have ended.
template <class Body>
void ParallelFor(const fw_pool *pool, int64_t tasks, const Body &body) {
  if (tasks <= 0) return;
  if (tasks == 1 || Threads(pool) == 1) {
    for (int64_t i = 0; i < tasks; ++i) body(i);
    return;
  }
  struct Shared {
    const Body *body;
    std::atomic_flag failed = ATOMIC_FLAG_INIT;
    std::exception_ptr error;
  } shared{&body, ATOMIC_FLAG_INIT, nullptr};
  const auto task = [](void *argument, int64_t index) noexcept {
    Shared &call = *static_cast<Shared *>(argument);
    try {
      (*call.body)(index);
    } catch (...) {
      if (!call.failed.test_and_set()) call.error = std::current_exception();
    }
  };
  if (pool != nullptr)
    pool->run(pool->context, tasks, task, &shared);
  else
    RunOwnPool(tasks, task, &shared);
  if (shared.error) std::rethrow_exception(shared.error);
}

// A pool of one thread: for a piece of what is shared out already, or work too little to share.
inline const fw_pool kAlone = {1, nullptr, [](void *, int64_t tasks, void (*task)(void *, int64_t), void *argument) {
                                 for (int64_t i = 0; i < tasks; ++i) task(argument, i);
                               }};

}  // namespace flyweight

#endif
