// Attention and layer normalization: what a transformer has beside its linear layers.
#include <algorithm>

#include "core/error.h"
#include "core/kernels.h"
#include "core/pool.h"
#include "core/scratch.h"
#include "core/tokens.h"

namespace flyweight {
namespace {

constexpr int64_t kLargest = int64_t{1} << 40;

int64_t Times(int64_t a, int64_t b) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product) || product > kLargest)
    Fail("sizes of %lld times %lld numbers are more than this library takes. Cut the batch.", static_cast<long long>(a),
         static_cast<long long>(b));
  return product;
}

void Check(const fw_attention_spec &s) {
  if (s.batch < 0 || s.queries < 0 || s.keys < 1 || s.heads < 1 || s.size < 1)
    Fail("batch=%lld, queries=%lld, keys=%lld, heads=%lld, size=%lld; keys, heads and size have to be positive, and "
         "the others not negative.",
         static_cast<long long>(s.batch), static_cast<long long>(s.queries), static_cast<long long>(s.keys),
         static_cast<long long>(s.heads), static_cast<long long>(s.size));
  const int64_t width = Times(s.heads, s.size);
  for (const int64_t token : {s.q_token, s.k_token, s.v_token}) {
    if (token < width)
      Fail("tokens lie %lld floats apart, and one has heads * size = %lld.", static_cast<long long>(token),
           static_cast<long long>(width));
    Times(Times(s.batch, std::max(s.queries, s.keys)), token);
  }
  if (s.mask_batch < 0 || s.mask_head < 0 || s.mask_query < 0) Fail("a step of the mask is negative.");
  Times(Times(s.batch, s.mask_batch), 1);
  Times(Times(s.heads, s.mask_head), 1);
  Times(Times(s.queries, s.mask_query), 1);
}

// One head of one text, `count` queries from `first` on.
void AttendTile(const fw_attention_spec &s, int64_t text, int64_t head, int64_t first, int64_t count, const float *q,
                const float *k, const float *v, const float *mask, float *y) {
  const SpmmKernels &spmm = Spmm();
  const TokenKernels &tokens = Tokens();
  const int64_t vectors = (count + tokens.lanes - 1) / tokens.lanes, width = vectors * tokens.lanes;
  const int64_t rounded = (s.size + tokens.lanes - 1) / tokens.lanes * tokens.lanes;
  const bool own_masks = mask != nullptr && s.mask_query != 0;
  // Transposed queries, scores, transposed outputs (rows to whole vectors, as the way back reads them), masks.
  float *const panel = ThreadScratch<float>(
      Scratch::kPanel, static_cast<size_t>(width * (s.size + s.keys + rounded + (own_masks ? s.keys : 0))));
  float *const scores = panel + width * s.size, *const tile = scores + width * s.keys;
  float *const masks = tile + width * rounded;
  const int64_t row = text * s.queries + first, column = head * s.size;
  spmm.pack_tokens(q + row * s.q_token + column, s.q_token, s.size, count, panel, width);
  if (mask != nullptr) mask += text * s.mask_batch + head * s.mask_head + first * s.mask_query;
  if (own_masks) spmm.pack_tokens(mask, s.mask_query, s.keys, count, masks, width);
  AttendCall call;
  call.queries = panel;
  call.keys = k + text * s.keys * s.k_token + column;
  call.key_ld = s.k_token;
  call.values = v + text * s.keys * s.v_token + column;
  call.value_ld = s.v_token;
  call.mask = own_masks ? masks : mask;
  call.mask_ld = own_masks ? width : 0;
  call.key_count = s.keys;
  call.size = s.size;
  call.scale = s.scale;
  call.scores = scores;
  call.y = tile;
  tokens.attend[vectors - 1](call);
  const int64_t y_ld = s.heads * s.size;
  spmm.store_tokens(tile, width, s.size, count, nullptr, 0, y + row * y_ld + column, y_ld, FW_NONE);
}

void Attention(const fw_pool *pool, const fw_attention_spec &s, const float *q, const float *k, const float *v,
               const float *mask, float *y) {
  Check(s);
  if (s.batch == 0 || s.queries == 0) return;
  if (q == nullptr || k == nullptr || v == nullptr || y == nullptr) Fail("q, k, v or y is NULL.");
  const int64_t most = static_cast<int64_t>(Tokens().lanes) * kMaxQueryVectors;
  const int64_t tiles = (s.queries + most - 1) / most;
  const int64_t heads = Times(s.batch, s.heads);
  // Some tiles a task, so that handing them out costs little beside them.
  const int64_t work = s.keys * s.size * std::min(most, s.queries);
  const int64_t total = Times(heads, tiles);
  const int64_t threads = Threads(pool);
  const int64_t tasks = threads == 1 ? 1 : std::min({total, threads * 4, total * work / 32768 + 1});
  ParallelFor(pool, tasks, [&](int64_t task) {
    for (int64_t i = total * task / tasks; i < total * (task + 1) / tasks; ++i) {
      const int64_t first = i % tiles * most;
      AttendTile(s, i / tiles / s.heads, i / tiles % s.heads, first, std::min(most, s.queries - first), q, k, v, mask,
                 y);
    }
  });
}

void LayerNorm(const fw_pool *pool, int64_t rows, int64_t size, float epsilon, const float *gain, const float *bias,
               const float *x, float *y) {
  if (rows < 0 || size < 1)
    Fail("rows=%lld, size=%lld; rows of a positive size are needed.", static_cast<long long>(rows),
         static_cast<long long>(size));
  if (rows == 0) return;
  if (gain == nullptr || x == nullptr || y == nullptr) Fail("gain, x or y is NULL.");
  const int64_t work = Times(rows, size), threads = Threads(pool);
  const int64_t tasks = threads == 1 ? 1 : std::min({rows, threads, work / 16384 + 1});
  ParallelFor(pool, tasks, [&](int64_t task) {
    const int64_t first = rows * task / tasks, last = rows * (task + 1) / tasks;
    Tokens().normalize(x + first * size, last - first, size, gain, bias, epsilon, y + first * size);
  });
}

}  // namespace

const TokenKernels &Tokens() {
  switch (ActiveIsa()) {
#if FLYWEIGHT_AVX512
    case Isa::kAvx512:
      return avx512::kTokens;
#endif
#if FLYWEIGHT_AVX2
    case Isa::kAvx2:
      return avx2::kTokens;
#endif
    default:
      return portable::kTokens;
  }
}

}  // namespace flyweight

extern "C" {

int fw_attention_run(const fw_pool *pool, const fw_attention_spec *spec, const float *q, const float *k, const float *v,
                     const float *mask, float *y) {
  return flyweight::Guard("fw_attention_run", [&] {
    if (spec == nullptr) flyweight::Fail("its description is NULL.");
    flyweight::Attention(pool, *spec, q, k, v, mask, y);
  });
}

int fw_layer_norm_run(const fw_pool *pool, int64_t rows, int64_t size, float epsilon, const float *gain,
                      const float *bias, const float *x, float *y) {
  return flyweight::Guard("fw_layer_norm_run",
                          [&] { flyweight::LayerNorm(pool, rows, size, epsilon, gain, bias, x, y); });
}
}
