// The loops beside a transformer's linear layers, one table an instruction set: see kernels.h.
#ifndef FLYWEIGHT_CORE_TOKENS_H
#define FLYWEIGHT_CORE_TOKENS_H

#include <stdint.h>

namespace flyweight {

// Queries that one call answers at most, in vectors.
constexpr int kMaxQueryVectors = 2;

// One head and a tile of queries, which lie along the lanes, so that the softmax's maximum and sum need no sums across.
// W is the tile's width: `vectors` vectors.
struct AttendCall {
  const float *queries;  // (size, W): transposed, zeros after the last query
  int64_t query_ld;      // from a feature to the next
  const float *keys;     // (keys, size)
  int64_t key_ld, key_step;  // from a key, and from a feature, to the next
  const float *values;       // (keys, size)
  int64_t value_ld, value_step;
  const float *mask;  // to be added: (keys) where mask_ld is 0, else (keys, W) with that many from a row to the next
  int64_t mask_ld;
  int64_t key_count, size;
  float scale;
  float *scores;  // (keys, W), for the loop's own use
  float *y;       // (size, W): transposed like the queries
  int64_t y_ld;
};
typedef void (*AttendKernel)(const AttendCall &call);

struct TokenKernels {
  int lanes;
  AttendKernel attend[kMaxQueryVectors];  // of one vector, of two
  // y = (x - mean) / sqrt(variance + epsilon) * gain + bias over each row of `size`; bias may be NULL.
  void (*normalize)(const float *x, int64_t rows, int64_t size, const float *gain, const float *bias, float epsilon,
                    float *y);
  // The same over each column: x is (size, columns), rows `ld` apart, and of y, placed as x is, only rows [first, last)
  // are written. A vector reads and writes what is left of its last column alone.
  void (*normalize_columns)(const float *x, int64_t ld, int64_t size, int64_t columns, int64_t first, int64_t last,
                            const float *gain, const float *bias, float epsilon, float *y);
};

const TokenKernels &Tokens();  // of the instruction set in use

namespace portable {
extern const TokenKernels kTokens;
}
namespace avx2 {
extern const TokenKernels kTokens;
}
namespace avx512 {
extern const TokenKernels kTokens;
}

}  // namespace flyweight

#endif
