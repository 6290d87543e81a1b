#include "int8/packed.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/error.h"
#include "core/scratch.h"
#include "core/sparse_matrix.h"

namespace flyweight::int8 {
namespace {

constexpr int64_t kRows = 8;  // of the image that are brought together before they are read: not what was just stored
constexpr int64_t kBeyond = 128;  // what loops read and write beyond their ends
constexpr int64_t kMostPlanes = 3;
constexpr int64_t kMostLanes = int64_t{1} << 30;

}  // namespace

Packing::Packing(const fw_window &window, int64_t channels) : window_(window), channels_(channels) {
  if (channels > 3 || window.dilation_h != 1 || window.dilation_w != 1) return;
  step_ = window.stride_w * channels;
  period_ = 4 / std::gcd(int64_t{4}, step_);
  planes_ = step_ * period_ / 4;
  const int64_t bytes = window.kernel_w * channels;
  whole_ = bytes / 4;
  rest_ = bytes % 4;
  if (rest_ == 1 || rest_ == 2) sharing_ = 4 / rest_;
  if (rest_ == 3 || sharing_ % window.stride_h != 0) {
    whole_ += rest_ != 0;
    rest_ = 0;
  }
  if (rest_ != 0) shared_ = (window.kernel_h + sharing_ - 1) / sharing_;
  gains_ = planes_ <= kMostPlanes && window.stride_h <= 4 &&
           columns() < int64_t{window.kernel_h} * window.kernel_w;
}

int64_t Packing::Weight(int64_t column, int64_t byte) const {
  int64_t row = whole_ == 0 ? window_.kernel_h : column / whole_, at = 4 * (whole_ == 0 ? 0 : column % whole_) + byte;
  if (row >= window_.kernel_h) {
    row = (column - window_.kernel_h * whole_) * sharing_ + byte / rest_;
    at = 4 * whole_ + byte % rest_;
  }
  if (row >= window_.kernel_h || at >= window_.kernel_w * channels_) return -1;
  return 4 * (row * window_.kernel_w + at / channels_) + at % channels_;
}

Packing::Sizes Packing::SizesOf(int64_t out_height, int64_t out_width) const {
  const int64_t stride = window_.stride_h, last = whole_ - (rest_ == 0);  // the last lane that a row takes
  const int64_t rows = (out_height - 1) * stride + std::max<int64_t>(window_.kernel_h, shared_ * sharing_);
  Sizes sizes{};
  sizes.rows = (rows + stride - 1) / stride;
  sizes.pitch = out_width + last / planes_ * period_;
  sizes.shared_rows = shared_ == 0 ? 0 : out_height + (shared_ - 1) * sharing_ / stride;
  // Whole cache lines, and one more, so that planes don't fall upon the same sets of a cache.
  sizes.plane = ((Product(sizes.rows, sizes.pitch, "an image") / 16 + 1) | 1) * 16;
  sizes.first = Product(sizes.plane, planes_ * stride, "an image");
  return sizes;
}

Geometry Packing::Plan(int64_t height, int64_t width, const Wish &wish) const {
  Geometry geometry;
  const int32_t vector = wish.vector;
  ImageSize size = WindowResult(window_, height, width);
  if (wish.rows != 0) size.height = wish.rows;
  geometry.first = wish.first;
  geometry.height = height;
  geometry.width = width;
  geometry.out_height = size.height;
  geometry.out_width = size.width;
  const Sizes sizes = SizesOf(size.height, size.width);
  const int64_t stride = window_.stride_h;
  geometry.plane = sizes.first + sizes.shared_rows * sizes.pitch + 2 * vector + period_;
  if (geometry.plane > kMostLanes)
    Fail("an image of %lld x %lld has too many pixels for the integer layers. Give one of at most %lld.",
         static_cast<long long>(height), static_cast<long long>(width),
         static_cast<long long>(kMostLanes / (kMostPlanes * stride + 1)));
  for (int64_t ky = 0; ky < window_.kernel_h; ++ky) {
    for (int64_t lane = 0; lane < whole_; ++lane) {
      const int64_t plane = lane % planes_ * stride + ky % stride;
      const int64_t tap = plane * sizes.plane + ky / stride * sizes.pitch + lane / planes_ * period_;
      geometry.taps.push_back(static_cast<int32_t>(tap));
    }
  }
  for (int64_t i = 0; i < shared_; ++i)
    geometry.taps.push_back(static_cast<int32_t>(sizes.first + i * sharing_ / stride * sizes.pitch));
  geometry.positions = (size.height - 1) * sizes.pitch + size.width;
  geometry.vectors = (geometry.positions + vector - 1) / vector;
  MakeLanes(geometry, sizes.pitch, vector);
  return geometry;
}

// One row of the image with its border, without the bytes of the channels that are none.
void Packing::LayRow(const Table &table, const Geometry &geometry, const uint8_t *x, uint8_t *bytes, int64_t length,
                     int64_t row, uint8_t fill) const {
  const int64_t from = row + geometry.first * window_.stride_h - window_.pad_top, left = window_.pad_left * channels_;
  if (from < 0 || from >= geometry.height || left + kBeyond > length) {
    std::memset(bytes, fill, static_cast<size_t>(length));
    return;
  }
  std::memset(bytes, fill, static_cast<size_t>(left));
  const int64_t count = std::min(geometry.width, (length - kBeyond - left) / channels_);
  uint8_t *to = bytes + left;
  table.tighten(x + 4 * geometry.width * from, channels_, to, count);
  to += channels_ * count;
  std::memset(to, fill, static_cast<size_t>(bytes + length - to));
}

void Packing::Lay(const Table &table, const fw_pool *pool, const Geometry &geometry, const uint8_t *x, uint8_t *y,
                  uint8_t fill) const {
  const Sizes sizes = SizesOf(geometry.out_height, geometry.out_width);
  const int64_t stride = window_.stride_h, rows = sizes.rows * stride;
  // Up to the last lane of the last plane.
  const int64_t length = (step_ * (sizes.pitch - 1) + 4 * planes_ + kBeyond) / 64 * 64 + 64;
  uint32_t *lanes = reinterpret_cast<uint32_t *>(y);
  ParallelFor(pool, (rows + kRows - 1) / kRows, [&](int64_t task) {
    const int64_t begin = task * kRows, end = std::min(rows, begin + kRows);
    uint8_t *bytes = ThreadScratch<uint8_t>(Scratch::kOther, static_cast<size_t>(length * kRows));
    for (int64_t row = begin; row < end; ++row)
      LayRow(table, geometry, x, bytes + length * (row - begin), length, row, fill);
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t plane = 0; plane < planes_; ++plane) {
        const int64_t at = (plane * stride + row % stride) * sizes.plane + row / stride * sizes.pitch;
        table.every(bytes + length * (row - begin) + 4 * plane, step_, y + 4 * at, sizes.pitch);
      }
    }
  });
  if (shared_ == 0) return;
  const uint32_t *rest = lanes + whole_ % planes_ * stride * sizes.plane;
  const int64_t count = geometry.out_width, shift = whole_ / planes_ * period_;
  const uint32_t bits = (uint32_t{1} << (8 * rest_)) - 1;
  ParallelFor(pool, sizes.shared_rows, [&](int64_t row) {
    const int64_t columns = count;
    const uint32_t mask = bits;
    uint32_t *__restrict to = lanes + sizes.first + row * sizes.pitch;
    const auto line = [&](int64_t i) {
      const int64_t at = row * stride + i;
      return rest + at % stride * sizes.plane + at / stride * sizes.pitch + shift;
    };
    if (sharing_ == 4) {
      const uint32_t *a = line(0), *b = line(1), *c = line(2), *d = line(3);
      for (int64_t i = 0; i < columns; ++i)
        to[i] = (a[i] & mask) | (b[i] & mask) << 8 | (c[i] & mask) << 16 | d[i] << 24;
    } else {
      const uint32_t *a = line(0), *b = line(1);
      for (int64_t i = 0; i < columns; ++i) to[i] = (a[i] & mask) | b[i] << 16;
    }
  });
}

}  // namespace flyweight::int8
