#include "core/shares.h"

#include <sched.h>

namespace flyweight {
namespace {

// So often a thread looks whether the others are done before it lets the system run something else.
constexpr int kSpins = 4000;

}  // namespace

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

void Shares::Open(int threads, int64_t tasks, Task task, void *argument) {
  task_ = task;
  argument_ = argument;
  tasks_ = tasks;
  threads_ = threads;
  for (int i = 0; i < threads; ++i) shares_[i].next.store(tasks * i / threads, std::memory_order_relaxed);
  open_.store(true);
  calls_.fetch_add(1);
}

void Shares::Finish() {
  Take(0);
  // A helper counts itself in before it looks at open_, and here open_ falls before the count is read: so either it
  // sees that nothing is left, or it is waited for.
  open_.store(false);
  for (int spins = 0; active_.load() != 0; ++spins) {
    if (spins < kSpins)
      Pause();
    else
      sched_yield();
  }
}

void Shares::Help(int helper) {
  active_.fetch_add(1);
  if (open_.load() && helper < threads_) Take(helper);
  active_.fetch_sub(1);
}

void Shares::Take(int own) {
  for (int step = 0; step < threads_; ++step) {
    const int share = (own + step) % threads_;
    const int64_t end = tasks_ * (share + 1) / threads_;
    for (int64_t i; (i = shares_[share].next.fetch_add(1, std::memory_order_relaxed)) < end;) task_(argument_, i);
  }
}

}  // namespace flyweight
