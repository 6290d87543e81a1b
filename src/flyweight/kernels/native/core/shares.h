// One call after another shared out to threads that are there already: how tasks are taken, and when a call has ended.
#ifndef FLYWEIGHT_CORE_SHARES_H
#define FLYWEIGHT_CORE_SHARES_H

#include <atomic>
#include <cstdint>
#include <memory>

namespace flyweight {

constexpr int kMostThreads = 256;

// What a thread does between two looks at what another has to write.
void Pause();

class Shares {
 public:
  using Task = void (*)(void *argument, int64_t index);

  explicit Shares(int most_threads) : shares_(new Share[static_cast<size_t>(most_threads)]) {}

  // Offers a call to helpers 1 to threads - 1; Finish follows.
  void Open(int threads, int64_t tasks, Task task, void *argument);
  // Takes tasks of that call too, and returns when all are done. Helpers that never came are not waited for.
  void Finish();

  // Changes with each call that is offered.
  uint64_t Call() const { return calls_.load(std::memory_order_acquire); }
  // Takes tasks of the call that is open, if there is one and it wants this helper.
  void Help(int helper);

 private:
  // A run of neighbouring tasks for each thread: what they write lies together, and from call to call in the cache of
  // the same processor. Who has done his own takes of the others'.
  struct alignas(128) Share {
    std::atomic<int64_t> next{0};
  };
  void Take(int own);

  alignas(128) std::atomic<uint64_t> calls_{0};
  int64_t tasks_ = 0;
  int threads_ = 1;
  Task task_ = nullptr;
  void *argument_ = nullptr;
  alignas(128) std::atomic<int> active_{0};
  std::atomic<bool> open_{false};
  const std::unique_ptr<Share[]> shares_;
};

}  // namespace flyweight

#endif
