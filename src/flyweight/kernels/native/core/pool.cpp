#include "core/pool.h"

#include <pthread.h>
#include <sched.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/shares.h"

namespace flyweight {
namespace {

// How often a worker looks for new work before it sleeps: some tens of microseconds, the pause between two layers.
constexpr int kSpins = 4000;

int ProcessorCount() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0) return CPU_COUNT(&allowed);
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : static_cast<int>(count);
}

int StartingThreads() {
  if (const char *text = std::getenv("FLYWEIGHT_THREADS")) {
    const int asked = std::atoi(text);
    if (asked >= 1) return asked < kMostThreads ? asked : kMostThreads;
  }
  return ProcessorCount();
}

class Pool {
 public:
  bool TryAcquire() { return !busy_.test_and_set(std::memory_order_acquire); }
  void Release() { busy_.clear(std::memory_order_release); }

  // To be called between TryAcquire and Release.
  void Run(int threads, int64_t tasks, void (*task)(void *, int64_t), void *argument) {
    while (static_cast<int>(workers_.size()) < threads - 1) {
      const int helper = static_cast<int>(workers_.size()) + 1;
      workers_.emplace_back([this, helper] { Work(helper); });
    }
    shares_.Open(threads, tasks, task, argument);
    if (sleeping_.load() > 0) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
      }
      wake_.notify_all();
    }
    shares_.Finish();
  }

 private:
  // More of them may be there than a call may use: fw_set_threads lowers the number without ending any.
  void Work(int helper) {
    uint64_t seen = 0;
    for (;;) {
      for (int spins = 0; shares_.Call() == seen && spins < kSpins; ++spins) Pause();
      if (shares_.Call() == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1);
        wake_.wait(lock, [&] { return shares_.Call() != seen; });
        sleeping_.fetch_sub(1);
      }
      seen = shares_.Call();
      shares_.Help(helper);
    }
  }

  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleeping_{0};
  Shares shares_{kMostThreads};
};

std::atomic<int> &ThreadCount() {
  static std::atomic<int> count{StartingThreads()};
  return count;
}

// Never destroyed: its workers may wait in it when the process ends. A forked child has none of the workers, so it
// starts with a pool of its own.
std::atomic<Pool *> &OwnPool() {
  static std::atomic<Pool *> pool{[] {
    pthread_atfork(nullptr, nullptr, [] { OwnPool().store(new Pool); });
    return new Pool;
  }()};
  return pool;
}

}  // namespace

int Threads(const fw_pool *pool) {
  return pool == nullptr ? ThreadCount().load(std::memory_order_relaxed) : pool->threads;
}

void RunOwnPool(int64_t tasks, void (*task)(void *, int64_t), void *argument) {
  const int threads = ThreadCount().load(std::memory_order_relaxed);
  Pool &pool = *OwnPool().load();
  if (threads > 1 && pool.TryAcquire()) {
    try {
      pool.Run(threads, tasks, task, argument);
    } catch (...) {  // a thread could not be started; nothing has been run yet
      pool.Release();
      for (int64_t i = 0; i < tasks; ++i) task(argument, i);
      return;
    }
    pool.Release();
    return;
  }
  for (int64_t i = 0; i < tasks; ++i) task(argument, i);
}

}  // namespace flyweight

extern "C" {

int fw_threads(void) { return flyweight::Threads(nullptr); }

int fw_set_threads(int threads) {
  return flyweight::Guard("fw_set_threads", [&] {
    if (threads < 1 || threads > flyweight::kMostThreads)
      flyweight::Fail("got %d threads. Give 1 to %d.", threads, flyweight::kMostThreads);
    flyweight::ThreadCount().store(threads, std::memory_order_relaxed);
  });
}
}
