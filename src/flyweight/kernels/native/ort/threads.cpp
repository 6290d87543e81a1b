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
constexpr auto kFirst = std::chrono::milliseconds(5);
constexpr auto kMore = std::chrono::milliseconds(1);
// A machine under load wakes threads late: only this many calls with nobody else settle that there is nobody.
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

}  // namespace

int32_t Threads::Find(const OrtApi *api, const OrtKernelContext *context) {
  const int32_t most = Processors();
  if (most == 1) {
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
    seen = ran ? std::max(1, roll.seen.load()) : 1;
    if (seen > 1 || ++tries_ >= kTries) known_ = seen;
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
