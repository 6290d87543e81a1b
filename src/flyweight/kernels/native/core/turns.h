// A relay: what one thread has done of a row of turns, for another that takes each of them after it.
#ifndef FLYWEIGHT_CORE_TURNS_H
#define FLYWEIGHT_CORE_TURNS_H

#include <atomic>
#include <cstdint>

namespace flyweight {

class alignas(128) Turns {
 public:
  void Ended(int64_t turn) { next_.store(turn + 1, std::memory_order_release); }
  // Returns when the other thread has ended that turn. It has to be at work: nobody else will do it.
  void WaitFor(int64_t turn) const;

  // Lets nobody wait for a thread that leaves by an exception.
  struct Ending {
    ~Ending() { turns.Ended(INT64_MAX - 1); }
    Turns &turns;
  };

 private:
  std::atomic<int64_t> next_{0};
};

}  // namespace flyweight

#endif
