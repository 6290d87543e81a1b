// Attention and layer normalization: what a transformer has beside its linear layers.
#include <algorithm>

#include "core/error.h"
#include "core/fetch.h"
#include "core/kernels.h"
#include "core/pool.h"
#include "core/scratch.h"
#include "core/tokens.h"

namespace flyweight {
namespace {

constexpr int64_t kLargest = int64_t{1} << 40;

// Numbers of a thread's own below which they are not shared out.
constexpr int64_t kSharedNumbers = 4096;

int64_t Times(int64_t a, int64_t b) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product) || product > kLargest)
    Fail("sizes of %lld times %lld numbers are more than this library takes. Cut the batch.", static_cast<long long>(a),
         static_cast<long long>(b));
  return product;
}

void Check(const fw_attention_spec &s, bool turned) {
  if (s.batch < 0 || s.queries < 0 || s.keys < 1 || s.heads < 1 || s.size < 1)
    Fail("batch=%lld, queries=%lld, keys=%lld, heads=%lld, size=%lld; keys, heads and size have to be positive, and "
         "the others not negative.",
         static_cast<long long>(s.batch), static_cast<long long>(s.queries), static_cast<long long>(s.keys),
         static_cast<long long>(s.heads), static_cast<long long>(s.size));
  const int64_t width = Times(s.heads, s.size);
  for (const int64_t token : {s.q_token, s.k_token, s.v_token}) {
    if (turned) break;
    if (token < width)
      Fail("tokens lie %lld floats apart, and one has heads * size = %lld.", static_cast<long long>(token),
           static_cast<long long>(width));
    Times(Times(s.batch, std::max(s.queries, s.keys)), token);
  }
  Times(Times(s.batch, std::max(s.queries, s.keys)), width);
  if (s.mask_batch < 0 || s.mask_head < 0 || s.mask_query < 0) Fail("a step of the mask is negative.");
  Times(Times(s.batch, s.mask_batch), 1);
  Times(Times(s.heads, s.mask_head), 1);
  Times(Times(s.queries, s.mask_query), 1);
}

// Where a tensor lies: features of a token one after the other, or, turned, tokens of a feature.
struct Place {
  int64_t token, feature;  // floats from one to the next
};

// One head of one text, `count` queries from `first` on.
void AttendTile(const fw_attention_spec &s, bool turned, int64_t text, int64_t head, int64_t first, int64_t count,
                const float *q, const float *k, const float *v, const float *mask, float *y) {
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
  const auto at = [&](const float *x, int64_t count_of_tokens, int64_t token, Place place) {
    const int64_t size = turned ? s.heads * s.size * count_of_tokens : place.token * count_of_tokens;
    return x + text * size + head * s.size * place.feature + token * place.token;
  };
  const Place query = turned ? Place{1, s.queries} : Place{s.q_token, 1};
  const Place key = turned ? Place{1, s.keys} : Place{s.k_token, 1};
  const Place value = turned ? Place{1, s.keys} : Place{s.v_token, 1};
  const Place result = turned ? Place{1, s.queries} : Place{s.heads * s.size, 1};
  q = at(q, s.queries, first, query);
  const bool direct = turned && count == width;  // whole vectors, which already lie as the loop reads and writes them
  if (turned && !direct) spmm.pack_rows(q, query.feature, s.size, count, panel, width);
  if (!turned) spmm.pack_tokens(q, query.token, s.size, count, panel, width);
  if (mask != nullptr) mask += text * s.mask_batch + head * s.mask_head + first * s.mask_query;
  if (own_masks) spmm.pack_tokens(mask, s.mask_query, s.keys, count, masks, width);
  float *const to = y + (at(y, s.queries, first, result) - y);
  AttendCall call;
  call.queries = direct ? q : panel;
  call.query_ld = direct ? query.feature : width;
  call.keys = at(k, s.keys, 0, key);
  call.key_ld = key.token;
  call.key_step = key.feature;
  call.values = at(v, s.keys, 0, value);
  call.value_ld = value.token;
  call.value_step = value.feature;
  call.mask = own_masks ? masks : mask;
  call.mask_ld = own_masks ? width : 0;
  call.key_count = s.keys;
  call.size = s.size;
  call.scale = s.scale;
  call.scores = scores;
  call.y = direct ? to : tile;
  call.y_ld = direct ? result.feature : width;
  tokens.attend[vectors - 1](call);
  if (!turned) spmm.store_tokens(tile, width, s.size, count, nullptr, 0, to, result.token, FW_NONE);
  for (int64_t i = 0; turned && !direct && i < s.size; ++i)
    std::copy_n(tile + i * width, count, to + i * result.feature);
}

void Attention(const fw_pool *pool, const fw_attention_spec &s, bool turned, const float *q, const float *k,
               const float *v, const float *mask, float *y) {
  Check(s, turned);
  if (s.batch == 0 || s.queries == 0) return;
  if (q == nullptr || k == nullptr || v == nullptr || y == nullptr) Fail("q, k, v or y is NULL.");
  const int64_t most = static_cast<int64_t>(Tokens().lanes) * kMaxQueryVectors;
  const int64_t tiles = (s.queries + most - 1) / most;
  const int64_t heads = Times(s.batch, s.heads);
  // Some tiles a task, so that handing them out costs little beside them.
  const int64_t work = s.keys * s.size * std::min(most, s.queries);
  const int64_t total = Times(heads, tiles);
  const int64_t threads = Threads(pool);
  const int64_t most_tasks = turned ? threads : threads * 4;  // turned, a thread has made its heads' rows itself
  const int64_t tasks = threads == 1 ? 1 : std::min({total, most_tasks, total * work / 32768 + 1});
  ParallelFor(pool, tasks, [&](int64_t task) {
    for (int64_t i = total * task / tasks; i < total * (task + 1) / tasks; ++i) {
      const int64_t text = i / tiles / s.heads, head = i / tiles % s.heads, first = i % tiles * most;
      AttendTile(s, turned, text, head, first, std::min(most, s.queries - first), q, k, v, mask, y);
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

// Over the features of each token of (batch, size, tokens): threads take tokens, or where those are too few to be cut
// features, each finding out the mean for itself.
void LayerNormTurned(const fw_pool *pool, int64_t batch, int64_t size, int64_t tokens, float epsilon, const float *gain,
                     const float *bias, const float *x, float *y) {
  if (batch < 0 || size < 1 || tokens < 0)
    Fail("batch=%lld, size=%lld, tokens=%lld; features of a positive number are needed.", static_cast<long long>(batch),
         static_cast<long long>(size), static_cast<long long>(tokens));
  if (batch == 0 || tokens == 0) return;
  if (gain == nullptr || x == nullptr || y == nullptr) Fail("gain, x or y is NULL.");
  const TokenKernels &loops = Tokens();
  const int64_t work = Times(Times(batch, size), tokens), threads = Threads(pool);
  const int64_t vectors = (tokens + loops.lanes - 1) / loops.lanes, units = batch * vectors;
  const int64_t tasks = std::min(threads, work / kSharedNumbers + 1);
  const bool cut = units < tasks;
  if (x == y) Fail("y is x, which threads still read. Give y room of its own.");
  ParallelFor(pool, tasks, [&](int64_t task) {
    const int64_t first = cut ? 0 : units * task / tasks, last = cut ? units : units * (task + 1) / tasks;
    const int64_t low = cut ? size * task / tasks : 0, high = cut ? size * (task + 1) / tasks : size;
    for (int64_t unit = first; unit < last;) {
      // As many vectors of one text as follow one another.
      const int64_t text = unit / vectors, end = std::min(last, (text + 1) * vectors);
      const int64_t token = unit % vectors * loops.lanes, stop = std::min(tokens, (end - text * vectors) * loops.lanes);
      const int64_t place = text * size * tokens + token;
      if (tasks > 1) FetchRows(x + place, tokens, size, stop - token);
      loops.normalize_columns(x + place, tokens, size, stop - token, low, high, gain, bias, epsilon, y + place);
      unit = end;
    }
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
    flyweight::Attention(pool, *spec, false, q, k, v, mask, y);
  });
}

int fw_attention_turned_run(const fw_pool *pool, const fw_attention_spec *spec, const float *q, const float *k,
                            const float *v, const float *mask, float *y) {
  return flyweight::Guard("fw_attention_turned_run", [&] {
    if (spec == nullptr) flyweight::Fail("its description is NULL.");
    flyweight::Attention(pool, *spec, true, q, k, v, mask, y);
  });
}

int fw_layer_norm_run(const fw_pool *pool, int64_t rows, int64_t size, float epsilon, const float *gain,
                      const float *bias, const float *x, float *y) {
  return flyweight::Guard("fw_layer_norm_run",
                          [&] { flyweight::LayerNorm(pool, rows, size, epsilon, gain, bias, x, y); });
}

int fw_layer_norm_turned_run(const fw_pool *pool, int64_t batch, int64_t size, int64_t tokens, float epsilon,
                             const float *gain, const float *bias, const float *x, float *y) {
  return flyweight::Guard("fw_layer_norm_turned_run", [&] {
    flyweight::LayerNormTurned(pool, batch, size, tokens, epsilon, gain, bias, x, y);
  });
}
}
