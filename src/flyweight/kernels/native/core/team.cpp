#include "core/team.h"

#include <sched.h>

#include <algorithm>

#include "core/shares.h"

namespace flyweight {
namespace {

// So often a follower looks for the next call before it lets the system run something else.
constexpr int kSpins = 20000;

class Team {
 public:
  explicit Team(int threads) : shares_(threads), pool_{threads, this, &Team::Run} {}

  // Whether the calling thread is the first, and shall lead; the others' numbers count from 1.
  bool Arrive(int &number) {
    number = arrived_.fetch_add(1);
    return number == 0;
  }
  const fw_pool *pool() const { return &pool_; }
  void End() { ended_.store(true, std::memory_order_release); }

  void Follow(int number) {
    uint64_t seen = 0;
    for (int spins = 0; !ended_.load(std::memory_order_acquire); ++spins) {
      if (shares_.Call() != seen) {
        seen = shares_.Call();
        shares_.Help(number);
        spins = 0;
      } else if (spins < kSpins) {
        Pause();
      } else {
        sched_yield();
      }
    }
  }

 private:
  static void Run(void *context, int64_t tasks, void (*task)(void *, int64_t), void *argument) {
    Team &self = *static_cast<Team *>(context);
    self.shares_.Open(self.pool_.threads, tasks, task, argument);
    self.shares_.Finish();
  }

  Shares shares_;
  alignas(128) std::atomic<int> arrived_{0};
  std::atomic<bool> ended_{false};
  const fw_pool pool_;
};

}  // namespace

void LeadTeam(const fw_pool *pool, void (*lead)(void *argument, const fw_pool *team), void *argument) {
  const int threads = std::min(Threads(pool), kMostThreads);
  if (threads == 1) {
    lead(argument, pool == nullptr ? &kAlone : pool);
    return;
  }
  Team team(threads);
  ParallelFor(pool, threads, [&](int64_t) {
    int number = 0;
    if (!team.Arrive(number)) {
      team.Follow(number);
      return;
    }
    struct Ending {
      ~Ending() { team.End(); }
      Team &team;
    } const ending{team};
    lead(argument, team.pool());
  });
}

}  // namespace flyweight
