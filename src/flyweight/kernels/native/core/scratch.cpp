#include "core/scratch.h"

#include <cstdlib>
#include <new>

namespace flyweight {

void *AllocateAligned(size_t bytes) {
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (rounded < bytes) throw std::bad_alloc();
  void *memory = std::aligned_alloc(kAlignment, rounded == 0 ? kAlignment : rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void FreeAligned(void *memory) noexcept { std::free(memory); }

void *ThreadScratch(Scratch use, size_t bytes) {
  struct Room {
    std::unique_ptr<char[], AlignedDeleter> memory;
    size_t bytes = 0;
  };
  thread_local Room rooms[static_cast<int>(Scratch::kCount)];
  Room &room = rooms[static_cast<int>(use)];
  if (room.bytes < bytes) {
    // A quarter more, so that sizes which grow a little each time don't allocate each time.
    const size_t wanted = bytes + bytes / 4;
    room.memory.reset();
    room.bytes = 0;
    room.memory.reset(static_cast<char *>(AllocateAligned(wanted)));
    room.bytes = wanted;
  }
  return room.memory.get();
}

}  // namespace flyweight
