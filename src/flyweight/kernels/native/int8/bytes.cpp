// Bytes without a layer: to c4, of bytes or floats, and back, and the sum of two images.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/pool.h"
#include "core/sparse_matrix.h"
#include "core/window.h"
#include "int8/loops.h"
#include "int8/requantize.h"

namespace flyweight::int8 {
namespace {

using ll = long long;

void CheckPool(const fw_pool *pool) {
  if (pool != nullptr && (pool->threads < 1 || pool->run == nullptr))
    Fail("got a pool of %d threads%s. Give at least one thread and a run function, or NULL for the library's own.",
         pool->threads, pool->run == nullptr ? " without a run function" : "");
}

// Groups of four channels in all images; 0 where there is nothing to do.
int64_t CheckPlanes(const fw_pool *pool, int64_t batch, int64_t channels, int64_t plane, const void *x, const void *y) {
  CheckPool(pool);
  if (batch < 0 || channels < 1 || plane < 1)
    Fail("got a batch of %lld images of %lld channels of %lld pixels. Give sizes of 1 or more.", ll{batch}, ll{channels},
         ll{plane});
  const int64_t groups = Product(batch, channels / 4 + (channels % 4 != 0), "the image");
  Product(Product(groups, 4, "the image"), plane, "the image");
  if (groups > 0 && (x == nullptr || y == nullptr)) Fail("got NULL for %s.", x == nullptr ? "x" : "y");
  return groups;
}

constexpr int64_t kRun = 1 << 14;  // bytes that a thread makes at a time

// Calls body(x of four channels, y in c4, pixels) for each part of each group of four channels, neighbours one after
// another; a channel beyond the last is NULL.
template <class Number, class Body>
void EachFour(const fw_pool *pool, int64_t batch, int64_t channels, int64_t plane, const Number *x, uint8_t *y,
              const Body &body) {
  const int64_t groups = CheckPlanes(pool, batch, channels, plane, x, y), each = (channels + 3) / 4;
  if (groups == 0) return;
  const int64_t parts = CeilDivide(plane, kRun / 4);
  ParallelFor(pool, groups * parts, [&](int64_t task) {
    const int64_t group = task / parts, channel = group % each * 4, begin = task % parts * (kRun / 4);
    const Number *from[4];
    for (int64_t k = 0; k < 4; ++k)
      from[k] = channel + k < channels ? x + (group / each * channels + channel + k) * plane + begin : nullptr;
    body(from, y + 4 * (plane * group + begin), std::min(plane - begin, kRun / 4));
  });
}

}  // namespace
}  // namespace flyweight::int8

extern "C" {

int fw_pack4(const fw_pool *pool, int64_t batch, int64_t channels, int64_t plane, const uint8_t *x, uint8_t *y) {
  return flyweight::Guard("fw_pack4", [&] {
    const flyweight::int8::Table &table = flyweight::int8::ActiveTable();
    flyweight::int8::EachFour(pool, batch, channels, plane, x, y,
                              [&](const uint8_t *const from[4], uint8_t *to, int64_t count) {
                                // The last group's missing channels repeat its first: they may hold anything.
                                const uint8_t *all[4];
                                for (int k = 0; k < 4; ++k) all[k] = from[k] == nullptr ? from[0] : from[k];
                                table.pack(all, to, count);
                              });
  });
}

int fw_quantize4(const fw_pool *pool, int64_t batch, int64_t channels, int64_t plane, const float *x, float scale,
                 uint8_t zero, uint8_t *y) {
  return flyweight::Guard("fw_quantize4", [&] {
    if (!std::isfinite(scale) || scale <= 0)
      flyweight::Fail("scale is %g. Give a finite number above 0.", static_cast<double>(scale));
    const flyweight::int8::Table &table = flyweight::int8::ActiveTable();
    const float low = -static_cast<float>(zero);
    const flyweight::int8::Quantization by{scale, 1.0f / scale, low, 255.0f + low, zero};
    flyweight::int8::EachFour(pool, batch, channels, plane, x, y,
                              [&](const float *const from[4], uint8_t *to, int64_t count) {
                                table.quantize({{from[0], from[1], from[2], from[3]}, to, count, by});
                              });
  });
}

int fw_unpack4(const fw_pool *pool, int64_t batch, int64_t channels, int64_t plane, const uint8_t *x, uint8_t *y) {
  return flyweight::Guard("fw_unpack4", [&] {
    const int64_t groups = flyweight::int8::CheckPlanes(pool, batch, channels, plane, x, y);
    const int64_t each = (channels + 3) / 4;
    const flyweight::int8::Table &table = flyweight::int8::ActiveTable();
    if (plane == 1) {  // channels lie one after another in both
      for (int64_t n = 0; n < groups / each; ++n) std::copy_n(x + 4 * each * n, channels, y + channels * n);
      return;
    }
    flyweight::ParallelFor(pool, groups, [&](int64_t i) {
      const int64_t channel = i % each * 4;
      uint8_t *to[4];
      for (int64_t k = 0; k < 4; ++k)
        to[k] = channel + k < channels ? y + (i / each * channels + channel + k) * plane : nullptr;
      table.unpack(x + 4 * plane * i, to, plane);
    });
  });
}

int fw_qadd_run(const fw_pool *pool, const fw_qadd_spec *spec, int64_t count, const uint8_t *a, const uint8_t *b,
                uint8_t *y) {
  using flyweight::Fail;
  return flyweight::Guard("fw_qadd_run", [&] {
    if (spec == nullptr) Fail("got NULL for spec.");
    flyweight::int8::CheckPool(pool);
    if (count < 0) Fail("got %lld bytes. Give 0 or more.", static_cast<long long>(count));
    if (count > 0 && (a == nullptr || b == nullptr || y == nullptr)) Fail("got NULL for a, b or y.");
    const flyweight::int8::Addition addition = flyweight::int8::MakeAddition(*spec);
    const flyweight::int8::Table &table = flyweight::int8::ActiveTable();
    constexpr int64_t run = flyweight::int8::kRun;
    flyweight::ParallelFor(pool, count / run + (count % run != 0), [&](int64_t i) {
      const int64_t at = i * run;
      table.add({a + at, b + at, y + at, std::min(run, count - at), addition});
    });
  });
}
}
