// What this machine could do at most, on one thread: the roof under which a kernel's speed is read.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/error.h"
#include "core/kernels.h"
#include "core/scratch.h"
#include "flyweight_kernels.h"
#include "measure/loops.h"

namespace flyweight {
namespace {

constexpr int kTurns = 9;
constexpr double kTurnSeconds = 4e-3;

const MeasureLoops &Loops() {
  [[maybe_unused]] const Isa isa = ActiveIsa();
#if FLYWEIGHT_AVX512
  if (isa == Isa::kAvx512) return avx512::kMeasure;
#endif
#if FLYWEIGHT_AVX2
  if (isa == Isa::kAvx2) return avx2::kMeasure;
#endif
  return portable::kMeasure;
}

const MeasureByteLoop &ByteLoop() {
  [[maybe_unused]] const Isa isa = ActiveIsa();
#if FLYWEIGHT_AVX512VNNI
  if (isa == Isa::kAvx512 && ActiveVnni()) return avx512vnni::kMeasureBytes;
#endif
#if FLYWEIGHT_AVXVNNI
  if (isa == Isa::kAvx2 && ActiveVnni()) return avxvnni::kMeasureBytes;
#endif
#if FLYWEIGHT_AVX2
  if (isa != Isa::kPortable) return avx2::kMeasureBytes;
#endif
  return portable::kMeasureBytes;
}

template <class Body>
double Seconds(const Body &body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Rounds a second, of `rounds` or more in a turn: the best of some turns, for a machine is never faster than it can be,
// but is often slower.
template <class Body>
double Rate(int64_t rounds, const Body &body) {
  while (Seconds([&] { body(rounds); }) < kTurnSeconds && rounds < int64_t{1} << 40) rounds *= 2;
  double best = 0;
  for (int turn = 0; turn < kTurns; ++turn)
    best = std::max(best, static_cast<double>(rounds) / std::max(1e-9, Seconds([&] { body(rounds); })));
  return best;
}

// -1 after an error, which fw_error() then tells.
template <class Body>
double Guarded(const char *where, const Body &body) {
  double result = -1;
  return Guard(where, [&] { result = body(); }) == 0 ? result : -1;
}

}  // namespace
}  // namespace flyweight

extern "C" {

double fw_peak_gflops(void) {
  return flyweight::Guarded("fw_peak_gflops", [] {
    const flyweight::MeasureLoops &loops = flyweight::Loops();
    return flyweight::Rate(1024, loops.multiply_add) * static_cast<double>(loops.flops_a_round) * 1e-9;
  });
}

double fw_peak_int8_gops(void) {
  return flyweight::Guarded("fw_peak_int8_gops", [] {
    const flyweight::MeasureByteLoop &loop = flyweight::ByteLoop();
    return flyweight::Rate(1024, loop.dot) * static_cast<double>(loop.ops_a_round) * 1e-9;
  });
}

double fw_read_gbytes(int64_t bytes) {
  return flyweight::Guarded("fw_read_gbytes", [bytes] {
    constexpr int64_t least = 512, most = int64_t{1} << 32;
    if (bytes < least || bytes > most)
      flyweight::Fail("got %lld bytes to read. Give from %lld to %lld.", static_cast<long long>(bytes),
                      static_cast<long long>(least), static_cast<long long>(most));
    const int64_t lines = bytes / 512;
    auto buffer = flyweight::MakeAligned<uint8_t>(static_cast<size_t>(lines * 512));
    std::memset(buffer.get(), 1, static_cast<size_t>(lines * 512));  // pages of its own, not the one of zeros
    const flyweight::MeasureLoops &loops = flyweight::Loops();
    // Rounds are lines: a small buffer is read often in a turn, and a large one as a whole, or it would look smaller.
    const double rate = flyweight::Rate(lines, [&](int64_t rounds) {
      for (int64_t left = rounds; left > 0; left -= lines) loops.read(buffer.get(), std::min(left, lines));
    });
    return rate * 512e-9;
  });
}
}
