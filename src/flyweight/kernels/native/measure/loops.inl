// The loops that measure, written once over vectors of kBytes; a file of one instruction set names kBytes, and includes
// this in a namespace of its own.

typedef float Floats __attribute__((vector_size(kBytes)));
typedef int64_t Words __attribute__((vector_size(kBytes), may_alias));

static void MultiplyAdd(int64_t rounds) {
  Floats factor = Floats{} + 0.5f, more = Floats{} + 1.0f;  // the sums stay near 2
#define FW_START(i) Floats sum##i = factor;
#define FW_STEP(i)                 \
  sum##i = sum##i * factor + more; \
  FW_OPAQUE(sum##i);
  FW_OPAQUE(factor);
  FW_OPAQUE(more);
  FW_TWELVE(FW_START)
  for (int64_t round = 0; round < rounds; ++round) {
    FW_TWELVE(FW_STEP)
  }
#undef FW_START
#undef FW_STEP
}

static void Read(const uint8_t *from, int64_t lines) {
  Words sum0 = {}, sum1 = {}, sum2 = {}, sum3 = {};
  for (const uint8_t *end = from + 512 * lines; from != end;) {
    for (int i = 0; i < 512 / kBytes; i += 4, from += 4 * kBytes) {
      const Words *words = reinterpret_cast<const Words *>(from);
      sum0 |= words[0];
      sum1 |= words[1];
      sum2 |= words[2];
      sum3 |= words[3];
    }
  }
  sum0 |= sum1 | sum2 | sum3;
  FW_OPAQUE(sum0);
}

const MeasureLoops kMeasure = {MultiplyAdd, int64_t{2} * 12 * (kBytes / 4), Read};
