#include "int8/geometry.h"

#include <algorithm>

#include "core/error.h"
#include "core/sparse_matrix.h"
#include "int8/sources.h"

namespace flyweight::int8 {
namespace {

using ll = long long;

// Distances are counted in 32 bits.
constexpr int64_t kMostLanes = int64_t{1} << 30;

// Of `count` places, every `stride`-th from `before` places before an image of `size` on, which are in the image.
void Inner(int64_t before, int64_t size, int64_t stride, int64_t count, int64_t &begin, int64_t &end) {
  begin = std::min(before > 0 ? CeilDivide(before, stride) : 0, count);
  end = std::min(std::max(begin, size + before > 0 ? CeilDivide(size + before, stride) : 0), count);
}

}  // namespace

void MakeLanes(Geometry &geometry, int64_t pitch, int32_t vector) {
  geometry.lanes.resize(static_cast<size_t>(geometry.vectors));
  for (int64_t v = 0; v < geometry.vectors; ++v) {
    Lanes &lanes = geometry.lanes[static_cast<size_t>(v)];
    lanes = {0, 0};
    for (int32_t l = 0; l < vector; ++l) {
      const int64_t position = v * vector + l, row = position / pitch, column = position % pitch;
      if (row >= geometry.out_height || column >= geometry.out_width) continue;
      if (lanes.mask == 0) lanes.place = static_cast<int32_t>(row * geometry.out_width + column);
      lanes.mask |= uint32_t{1} << l;
    }
  }
}

Geometry MakeGeometry(const fw_window &window, int64_t height, int64_t width, const Wish &wish) {
  Geometry geometry;
  ImageSize size = WindowResult(window, height, width);
  if (wish.rows != 0) size.height = wish.rows;
  const int32_t vector = wish.vector;
  geometry.height = height;
  geometry.width = width;
  geometry.out_height = size.height;
  geometry.out_width = size.width;
  geometry.first = wish.first;
  const bool padded = window.pad_top != 0 || window.pad_left != 0 || window.pad_bottom != 0 || window.pad_right != 0;
  const bool point = window.kernel_h == 1 && window.kernel_w == 1 && !padded;
  int64_t pitch;  // positions from a row to the next
  if (wish.direct && point && window.stride_h == 1 && window.stride_w == 1) {
    geometry.direct = true;
    geometry.plane = Product(height, width, "an image");
    geometry.taps = {0};
    pitch = width;
  } else {
    const int64_t split_h = window.stride_h, split_w = wish.by_two ? 1 : window.stride_w, step = wish.by_two ? 2 : 1;
    const int64_t last_h = int64_t{window.kernel_h - 1} * window.dilation_h;
    const int64_t last_w = int64_t{window.kernel_w - 1} * window.dilation_w;
    const int64_t down = last_h / split_h, right = last_w / split_w;  // how far taps reach within a phase
    const int64_t columns = (size.width - 1) * step + right + 1, rows = size.height + down;
    // At stride 1 the border right of a row is the border left of the next one too.
    const int64_t shared =
        window.stride_w == 1 ? std::min<int64_t>({window.pad_left, window.pad_right, right}) : 0;
    const int64_t row = CeilDivide(columns - shared, step) * step;
    pitch = row / step;
    const int64_t positions = Product(size.height - 1, pitch, "an image") + size.width;
    const int64_t reach = Product(CeilDivide(positions, vector) * vector, step, "an image") + down * row + right;
    const int64_t lanes = std::max(reach + vector + 4, Product(rows, row, "an image") + shared + vector);
    // Whole cache lines, and one more, so that planes of a power of two don't fall upon the same sets of a cache.
    const int64_t phase_lanes = (CeilDivide(lanes, 16) | 1) * 16;
    std::vector<int64_t> known;
    for (int32_t ky = 0; ky < window.kernel_h; ++ky) {
      for (int32_t kx = 0; kx < window.kernel_w; ++kx) {
        const int64_t y = int64_t{ky} * window.dilation_h, x = int64_t{kx} * window.dilation_w;
        const int64_t phase = y % split_h * split_w + x % split_w;
        size_t index = static_cast<size_t>(std::find(known.begin(), known.end(), phase) - known.begin());
        if (index == known.size()) {
          known.push_back(phase);
          Layout layout{};
          layout.width = width;
          layout.rows = rows;
          layout.columns = columns;
          layout.pitch = row;
          layout.top = window.pad_top - y % split_h - wish.first * split_h;
          layout.left = window.pad_left - x % split_w;
          layout.stride_h = split_h;
          layout.stride_w = split_w;
          Inner(layout.top, height, split_h, rows, layout.inner_top, layout.inner_bottom);
          Inner(layout.left, width, split_w, columns, layout.inner_left, layout.inner_right);
          geometry.phases.push_back(layout);
          geometry.starts.push_back(Product(static_cast<int64_t>(index), phase_lanes, "an image"));
        }
        const int64_t tap = geometry.starts[index] + y / split_h * row + x / split_w;
        if (tap > kMostLanes)
          Fail("an image of %lld x %lld is too large for this window. Give a smaller one.", ll{height}, ll{width});
        geometry.taps.push_back(static_cast<int32_t>(tap));
      }
    }
    geometry.plane = Product(static_cast<int64_t>(known.size()), phase_lanes, "an image");
  }
  if (geometry.plane > kMostLanes || Product(size.height, pitch, "an image") > kMostLanes)
    Fail("an image of %lld x %lld has too many pixels for the integer layers. Give one of at most %lld.", ll{height},
         ll{width}, ll{kMostLanes});
  geometry.positions = (size.height - 1) * pitch + size.width;
  geometry.vectors = CeilDivide(geometry.positions, vector);
  MakeLanes(geometry, pitch, vector);
  return geometry;
}

int64_t PiecesOfRows(int threads, int64_t rows, int64_t width, int32_t vector) {
  constexpr int64_t kFewestRows = 3, kFewestVectors = 1;
  const bool enough = rows >= kFewestRows * threads && rows * width >= kFewestVectors * vector * threads;
  return enough ? threads : 1;
}

void AddRuns(std::vector<Run> &runs, int64_t begin, int64_t end, int32_t most, int64_t bytes, bool partly) {
  // The inputs of one run should lie in the nearest cache for as long as all rows read them.
  constexpr int64_t kNear = 24 << 10;
  // Vectors are shared out evenly: 13 in tiles of at most 6 are 5 + 4 + 4.
  const int64_t all = end - begin, tiles = CeilDivide(all, most);
  for (int64_t tile = 0, first = begin; tile < tiles;) {
    const int64_t vectors = all / tiles + (tile < all % tiles);
    const int64_t alike = vectors * tiles > all ? all % tiles : tiles - partly;
    const int64_t together =
        std::max<int64_t>(1, std::min(std::max<int64_t>(1, kNear / (bytes * vectors)), alike - tile));
    runs.push_back({static_cast<int32_t>(first), static_cast<int32_t>(vectors), static_cast<int32_t>(together),
                    partly && tile == tiles - 1});
    first += together * vectors;
    tile += together;
  }
}

void Geometry::Lay(void (*lay)(const Layout &), const uint8_t *x, uint8_t *y, uint8_t fill) const {
  for (size_t i = 0; i < phases.size(); ++i) {
    Layout layout = phases[i];
    layout.x = x;
    layout.y = y + 4 * starts[i];
    layout.fill = fill;
    lay(layout);
  }
}

}  // namespace flyweight::int8
