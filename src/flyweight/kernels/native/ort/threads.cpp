#include "ort/threads.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>

#include "ort/status.h"

namespace flyweight::ort {
namespace {

using Clock = std::chrono::steady_clock;

// A thread that sleeps is given this long to come; one that finds others here waits for more of them for the second.
constexpr auto kFirst = std::chrono::milliseconds(10);
constexpr auto kMore = std::chrono::milliseconds(1);
// A machine under load wakes threads late: this often they are counted anew where nobody came.
constexpr int32_t kTries = 3;

int32_t Processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
  return count > 0 ? count : 1024;  // unknown where there are more than a cpu_set_t holds
}

struct Roll {
  explicit Roll(int32_t most) : most(most) {
    static std::atomic<uint64_t> count{1};
    number = count++;
  }

  // Notes the thread, then keeps it here, so that each task meets another thread as long as there are some.
  void Enter() {
    static thread_local uint64_t last = 0;
    if (last != number) {
      last = number;
      ++seen;
      until = Clock::now() + (seen > 1 ? kMore : kFirst);
    }
    while (seen < most && Clock::now() < until.load()) sched_yield();
  }

  uint64_t number;
  const int32_t most;
  std::atomic<int32_t> seen{0};
  std::atomic<Clock::time_point> until{Clock::time_point{}};
};

// Whether ParallelFor is a plain loop: two tasks then run here, and as near to the caller on the stack as a single one,
// which no pool has to see. A pool's own functions would stand between.
struct Loop {
  static void Enter(void *argument, size_t) {
    Loop &self = *static_cast<Loop *>(argument);
    const auto place = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    if (self.single == 0) self.single = place;
    if (self.single != place || Thread() != self.caller) self.plain = false;
  }

  static bool Plain(const OrtApi *api, const OrtKernelContext *context) {
    Loop self;
    void *const argument = &self;
    for (const size_t tasks : {1, 2}) {
      if (!Succeeds<kContextParallelFor>(api, context, &Enter, tasks, size_t{0}, argument)) return true;
    }
    return self.plain;
  }

  static const void *Thread() {
    static thread_local char own;
    return &own;
  }

  const void *caller = Thread();
  std::atomic<uintptr_t> single{0};
  std::atomic<bool> plain{true};
};

}  // namespace

int32_t Threads::Find(const OrtApi *api, const OrtKernelContext *context) {
  const int32_t most = Processors();
  if (most == 1 || Loop::Plain(api, context)) {
    known_ = 1;
    return 1;
  }
  if (busy_.test_and_set()) return most;  // another call of the session counts; work may be cut finer meanwhile
  int32_t seen = known_;
  if (!seen) {
    Roll roll(most);
    const auto task = [](void *argument, size_t) { static_cast<Roll *>(argument)->Enter(); };
    const bool ran = Succeeds<kContextParallelFor>(api, context, +task, static_cast<size_t>(4) * most, size_t{0},
                                                   static_cast<void *>(&roll));
    seen = ran ? roll.seen.load() : 1;
    if (seen > 1 || ++tries_ >= kTries) known_ = std::max(2, seen);
    seen = std::max(2, seen);  // for there is a pool
  }
  busy_.clear();
  return seen;
}

std::shared_ptr<Threads> ThreadsOf(const OrtLogger *session) {
  // Never freed: sessions may outlive the end of main.
  static auto &mutex = *new std::mutex;
  static auto &known = *new std::map<const OrtLogger *, std::weak_ptr<Threads>>;
  const std::lock_guard<std::mutex> lock(mutex);
  for (auto it = known.begin(); it != known.end();) it = it->second.expired() ? known.erase(it) : std::next(it);
  std::weak_ptr<Threads> &place = known[session];
  std::shared_ptr<Threads> threads = place.lock();
  if (!threads) place = threads = std::make_shared<Threads>();
  return threads;
}

}  // namespace flyweight::ort
