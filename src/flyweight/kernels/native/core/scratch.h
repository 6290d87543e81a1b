// Aligned memory: arrays that layers own, and room that a thread keeps from call to call.
#ifndef FLYWEIGHT_CORE_SCRATCH_H
#define FLYWEIGHT_CORE_SCRATCH_H

#include <cstddef>
#include <cstdint>
#include <memory>

namespace flyweight {

constexpr size_t kAlignment = 64;  // a cache line, and the widest vector

// Throws std::bad_alloc; the bytes are not set.
void *AllocateAligned(size_t bytes);
void FreeAligned(void *memory) noexcept;

struct AlignedDeleter {
  void operator()(void *memory) const noexcept { FreeAligned(memory); }
};

// An array on a cache line. Numbers only: nothing is constructed.
template <class T>
using AlignedArray = std::unique_ptr<T[], AlignedDeleter>;

template <class T>
AlignedArray<T> MakeAligned(size_t count) {
  return AlignedArray<T>(static_cast<T *>(AllocateAligned(count * sizeof(T))));
}

// Uses that may stand at the same time on one thread; each has room of its own.
enum class Scratch : int { kImage = 0, kPanel, kTile, kBlock, kOther, kCount };

// At least `bytes` on a cache line, this thread's own, until it next asks for the same use. What was in it is lost.
void *ThreadScratch(Scratch use, size_t bytes);

template <class T>
T *ThreadScratch(Scratch use, size_t count) {
  return static_cast<T *>(ThreadScratch(use, count * sizeof(T)));
}

}  // namespace flyweight

#endif
