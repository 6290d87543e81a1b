// Memory that ends where it is said to end: a sanitizer sees the accesses that it compiled, a page that may not be
// touched sees all of them, those of instructions with masks too.
#ifndef FLYWEIGHT_CHECK_BUFFER_H
#define FLYWEIGHT_CHECK_BUFFER_H

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace check {

// On the heap, exactly as large; right before a forbidden page; right after one.
enum class Place { kHeap = 0, kBefore = 1, kAfter = 2 };
constexpr Place kPlaces[] = {Place::kHeap, Place::kBefore, Place::kAfter};

// Numbers that are the same in each run.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint32_t Bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    const uint64_t mixed = (state_ ^ (state_ >> 29)) * 0xbf58476d1ce4e5b9u;
    return static_cast<uint32_t>(mixed >> 32);
  }
  int64_t From(int64_t low, int64_t high) { return low + Bits() % static_cast<uint64_t>(high - low + 1); }
  bool Chance(int percent) { return From(1, 100) <= percent; }
  float Number() { return static_cast<float>(Bits()) * (2.0f / 4294967296.0f) - 1.0f; }

 private:
  uint64_t state_;
};

template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count, Place place = Place::kHeap) : count_(count), place_(place) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (place == Place::kHeap) {
      data_ = static_cast<T *>(std::malloc(bytes));
      if (data_ == nullptr && bytes > 0) std::abort();
      return;
    }
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inside = (bytes + page - 1) / page * page;
    mapped_ = inside + page;
    map_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map_ == MAP_FAILED) std::abort();
    char *const start = static_cast<char *>(map_);
    const bool before = place == Place::kBefore;
    if (mprotect(before ? start + inside : start, page, PROT_NONE) != 0) std::abort();
    data_ = reinterpret_cast<T *>(before ? start + inside - bytes : start + page);
  }
  ~Buffer() {
    if (map_ != nullptr)
      munmap(map_, mapped_);
    else if (place_ == Place::kHeap)
      std::free(data_);
  }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;

  T *get() const { return data_; }
  int64_t count() const { return count_; }
  T &operator[](int64_t i) const { return data_[i]; }
  // Another byte each time, so that what was left unwritten differs from run to run.
  void Dirty(int byte) const { std::memset(data_, byte, static_cast<size_t>(count_) * sizeof(T)); }
  void Copy(const Buffer &from) const { std::memcpy(data_, from.data_, static_cast<size_t>(count_) * sizeof(T)); }
  void Fill(Random &random) const {
    for (int64_t i = 0; i < count_; ++i) data_[i] = Any(random, T{});
  }

 private:
  static float Any(Random &random, float) { return random.Number(); }
  static int8_t Any(Random &random, int8_t) { return static_cast<int8_t>(random.From(-127, 127)); }
  static uint8_t Any(Random &random, uint8_t) { return static_cast<uint8_t>(random.From(0, 255)); }
  static int32_t Any(Random &random, int32_t) { return static_cast<int32_t>(random.From(-2000, 2000)); }

  int64_t count_;
  Place place_;
  T *data_ = nullptr;
  void *map_ = nullptr;
  size_t mapped_ = 0;
};

}  // namespace check

#endif
