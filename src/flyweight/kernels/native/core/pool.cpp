#include "core/pool.h"

#include <pthread.h>
#include <sched.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"

namespace flyweight {
namespace {

constexpr int kMostThreads = 256;
// How often a worker looks for new work before it sleeps: some tens of microseconds, the pause between two layers.
constexpr int kSpins = 4000;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

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
    while (static_cast<int>(workers_.size()) < threads - 1) workers_.emplace_back([this] { Work(); });
    task_ = task;
    argument_ = argument;
    tasks_ = tasks;
    threads_ = threads;
    for (int i = 0; i < threads; ++i) shares_[i].next.store(tasks * i / threads, std::memory_order_relaxed);
    helpers_.store(threads - 1, std::memory_order_relaxed);
    open_.store(true);
    generation_.fetch_add(1);
    if (sleeping_.load() > 0) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
      }
      wake_.notify_all();
    }
    TakeTasks(0);
    // A worker counts itself in before it looks at open_, and here open_ falls before the count is read: so either it
    // sees that nothing is left, or it is waited for. One that still sleeps is not.
    open_.store(false);
    for (int spins = 0; active_.load() != 0; ++spins) {
      if (spins < kSpins)
        Pause();
      else
        std::this_thread::yield();
    }
  }

 private:
  // A run of neighbouring tasks for each thread: what they write lies together, and from call to call in the cache of
  // the same processor. Who has done his own takes of the others'.
  struct alignas(128) Share {
    std::atomic<int64_t> next{0};
  };

  void TakeTasks(int own) {
    for (int step = 0; step < threads_; ++step) {
      const int share = (own + step) % threads_;
      const int64_t end = tasks_ * (share + 1) / threads_;
      for (int64_t i; (i = shares_[share].next.fetch_add(1, std::memory_order_relaxed)) < end;) task_(argument_, i);
    }
  }

  void Work() {
    uint64_t seen = 0;
    for (;;) {
      for (int spins = 0; generation_.load(std::memory_order_acquire) == seen && spins < kSpins; ++spins) Pause();
      if (generation_.load() == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
        sleeping_.fetch_sub(1);
      }
      seen = generation_.load();
      active_.fetch_add(1);
      // More workers may be there than this call may use: fw_set_threads lowers the number without ending any.
      if (open_.load()) {
        const int share = helpers_.fetch_sub(1);
        if (share > 0) TakeTasks(share);
      }
      active_.fetch_sub(1);
    }
  }

  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleeping_{0}, active_{0}, helpers_{0};
  std::atomic<bool> open_{false};
  std::atomic<uint64_t> generation_{0};
  Share shares_[kMostThreads];
  int64_t tasks_ = 0;
  int threads_ = 1;
  void (*task_)(void *, int64_t) = nullptr;
  void *argument_ = nullptr;
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
