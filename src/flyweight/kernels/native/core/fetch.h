// Asking for memory before it is read, all at once: to wait for one line after another that another processor has
// written takes longer than to compute on them.
#ifndef FLYWEIGHT_CORE_FETCH_H
#define FLYWEIGHT_CORE_FETCH_H

#include <cstdint>

namespace flyweight {

// Bytes that are asked for at most: beyond them the processor's own guesses do as well.
constexpr int64_t kFetchedBytes = 128 << 10;

// Of `rows` rows, `ld` floats apart, the first `count` floats; nothing where those are too many.
inline void FetchRows(const float *x, int64_t ld, int64_t rows, int64_t count) {
  constexpr int64_t kLine = 16;
  if (count <= 0 || rows * count * int64_t{sizeof(float)} > kFetchedBytes) return;
  for (; rows > 0; --rows, x += ld) {
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(x + i);
    __builtin_prefetch(x + count - 1);
  }
}

}  // namespace flyweight

#endif
