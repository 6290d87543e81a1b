// What the loops that measure one instruction set offer: no standard library, as in core/kernels.h.
#ifndef FLYWEIGHT_MEASURE_LOOPS_H
#define FLYWEIGHT_MEASURE_LOOPS_H

#include <stdint.h>

// Twelve sums are enough that none waits for another: two units, with results after five cycles at most. They have
// names, for an array of them would lie in memory.
#define FW_TWELVE(of) of(0) of(1) of(2) of(3) of(4) of(5) of(6) of(7) of(8) of(9) of(10) of(11)

// The compiler has to take `value` for something that it does not know, held in a vector register.
#if defined(__x86_64__)
#define FW_OPAQUE(value) __asm__ volatile("" : "+v"(value))
#elif defined(__aarch64__)
#define FW_OPAQUE(value) __asm__ volatile("" : "+w"(value))
#else
#define FW_OPAQUE(value) __asm__ volatile("" : "+m"(value))
#endif

namespace flyweight {

struct MeasureLoops {
  // `rounds` times as many multiply-adds as registers hold, none waiting for another; two operations each.
  void (*multiply_add)(int64_t rounds);
  int64_t flops_a_round;
  // Reads `lines` of 512 bytes from `from`, which is aligned to 64.
  void (*read)(const uint8_t *from, int64_t lines);
};

// Products of bytes, four into each sum of 32 bits.
struct MeasureByteLoop {
  void (*dot)(int64_t rounds);
  int64_t ops_a_round;
};

namespace portable {
extern const MeasureLoops kMeasure;
extern const MeasureByteLoop kMeasureBytes;
}
namespace avx2 {
extern const MeasureLoops kMeasure;
extern const MeasureByteLoop kMeasureBytes;
}
namespace avx512 {
extern const MeasureLoops kMeasure;
}
namespace avxvnni {
extern const MeasureByteLoop kMeasureBytes;
}
namespace avx512vnni {
extern const MeasureByteLoop kMeasureBytes;
}

}  // namespace flyweight

#endif
