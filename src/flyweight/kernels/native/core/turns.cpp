#include "core/turns.h"

#include <sched.h>

#include "core/shares.h"

namespace flyweight {

// The other may have been put aside by the system, and then this processor is better left to it.
void Turns::WaitFor(int64_t turn) const {
  constexpr int kSpins = 2000;
  for (int spins = 0; next_.load(std::memory_order_acquire) <= turn; ++spins) {
    if (spins < kSpins)
      Pause();
    else
      sched_yield();
  }
}

}  // namespace flyweight
