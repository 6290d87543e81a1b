// What any processor of this architecture does, in vectors of 16 bytes.
#include "measure/loops.h"

namespace flyweight {
namespace portable {

constexpr int kBytes = 16;
#include "measure/loops.inl"

// The compiler's own best at a product of bytes, which has no instruction of its own here: from the nearest cache.
constexpr int kCount = 1024;

static void Dot(int64_t rounds) {
  uint8_t x[kCount];
  int8_t weight[kCount];
  __builtin_memset(x, 3, kCount);
  __builtin_memset(weight, -5, kCount);
  int32_t sum = 0;
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+m"(x), "+m"(weight));
    int32_t more = 0;
    for (int i = 0; i < kCount; ++i) more += static_cast<int32_t>(x[i]) * weight[i];
    sum ^= more;
  }
  __asm__ volatile("" : "+r"(sum));
}

const MeasureByteLoop kMeasureBytes = {Dot, 2 * kCount};

}  // namespace portable
}  // namespace flyweight
