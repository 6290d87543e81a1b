// An inverted residual block of bytes: what is expanded, and what the depthwise layer makes of it, stay with the thread
// that made them. Made of three layers, whose loops it calls in an order of its own.
#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/layer.h"
#include "core/pool.h"
#include "core/sparse_matrix.h"
#include "int8/requantize.h"
#include "int8/sources.h"

namespace flyweight::int8 {
namespace {

constexpr int64_t kNear = 24 << 10;  // bytes that stay in the nearest cache
constexpr int64_t kFewestRows = 4;

// A stretch of lanes of a plane: rows of one phase that lie in the image.
struct Stretch {
  int64_t begin;  // lane
  std::vector<Run> runs;
  std::vector<Lanes> lanes;  // (vectors)
};

// Some neighbouring rows of the result. Planes are laid out as the depthwise layer reads them, those of x too, so that
// expanding goes through them from end to end.
struct Piece {
  Geometry geometry;
  int64_t first;                      // row
  int64_t positions, made;            // of the result; lanes from a plane of what the depthwise layer made to the next
  std::vector<int32_t> offsets;       // of the depthwise loop
  std::vector<int32_t> expand;        // (blocks): lanes from a place of x to the block's inputs
  std::vector<int32_t> project;       // (blocks): the same of what was made
  std::vector<Stretch> stretches;     // that are expanded
  std::vector<Run> project_runs;
  std::vector<Lanes> project_lanes;   // (vectors)
};

struct Plan {
  std::vector<Piece> pieces;
  int64_t rows, columns;  // of the result
};

class QBlock final : public fw_layer {
 public:
  QBlock(const fw_layer *expand, const fw_layer *depthwise, const fw_layer *project);

  const char *kind() const override { return "quantized block"; }
  void OutputSize(int64_t height, int64_t width, int64_t out[3]) const override {
    const ImageSize size = WindowResult(depthwise_->Window(), height, width);
    out[0] = project_.rows;
    out[1] = size.height;
    out[2] = size.width;
  }
  void RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                 const uint8_t *residual, uint8_t *y) const override;

 private:
  int64_t Pieces(const fw_pool *pool, int64_t height, int64_t width) const;
  Plan MakePlan(int64_t height, int64_t width, int64_t pieces) const;
  void RunOne(const fw_pool *pool, const Plan &plan, const uint8_t *x, const uint8_t *residual, uint8_t *y) const;
  // Groups [begin, end) of the depthwise layer's channels, from the image to `made`.
  void Make(const Piece &piece, const uint8_t *x, int64_t begin, int64_t end, uint8_t *made) const;
  void Surround(const Piece &piece, uint8_t *plane) const;
  void Project(const Plan &plan, const Piece &piece, const uint8_t *made, const uint8_t *residual, uint8_t *y,
               int64_t begin, int64_t end) const;

  const Table &table_;
  bool expands_;
  ConvView expand_{}, project_;
  const PlaneSource *depthwise_;
  int64_t groups_, input_groups_;
  mutable Plans<Plan> plans_;
};

template <class Source>
const Source *Seen(const fw_layer *layer, const char *name, const char *wanted) {
  const Source *source = dynamic_cast<const Source *>(layer);
  if (layer == nullptr) Fail("%s is NULL. Give a %s.", name, wanted);
  if (source == nullptr) Fail("%s is a %s. Give a %s.", name, layer->kind(), wanted);
  return source;
}

ConvView Point(const fw_layer *layer, const char *name) {
  const ConvView view = Seen<ConvSource>(layer, name, "quantized convolution")->View();
  if (!view.point) Fail("%s has a window. Give a 1x1 convolution without one.", name);
  return view;
}

QBlock::QBlock(const fw_layer *expand, const fw_layer *depthwise, const fw_layer *project)
    : table_(ActiveTable()),
      expands_(expand != nullptr),
      project_(Point(project, "project")),
      depthwise_(Seen<PlaneSource>(depthwise, "depthwise", "quantized depthwise layer")) {
  const int64_t channels = depthwise_->Channels();
  groups_ = input_groups_ = (channels + 3) / 4;
  if (expands_) {
    expand_ = Point(expand, "expand");
    input_groups_ = expand_.input_groups;
    if (expand_.sums) Fail("expand adds a residual. Give one that does not.");
    if (expand_.rows != channels)
      Fail("expand has %lld rows and depthwise %lld channels. Give as many.", static_cast<long long>(expand_.rows),
           static_cast<long long>(channels));
  }
  if (project_.inputs != channels)
    Fail("project has %lld inputs and depthwise %lld channels. Give as many.", static_cast<long long>(project_.inputs),
         static_cast<long long>(channels));
}

int64_t QBlock::Pieces(const fw_pool *pool, int64_t height, int64_t width) const {
  const ImageSize size = WindowResult(depthwise_->Window(), height, width);
  const int64_t threads = PiecesOfRows(Threads(pool), size.height, size.width, table_.lanes);
  const int64_t near = std::min(4 * height * width / kNear + 1, std::max<int64_t>(1, size.height / kFewestRows));
  return CeilDivide(near, threads) * threads;
}

// All lanes of some vectors from one on, and of the last one `rest` (0: all).
std::vector<Lanes> Whole(int64_t begin, int64_t vectors, int32_t vector, int64_t rest) {
  std::vector<Lanes> lanes(static_cast<size_t>(vectors));
  for (int64_t v = 0; v < vectors; ++v)
    lanes[static_cast<size_t>(v)] = {static_cast<int32_t>(begin + v * vector),
                                     static_cast<uint32_t>((uint64_t{1} << vector) - 1)};
  if (rest != 0) lanes.back().mask = static_cast<uint32_t>((uint64_t{1} << rest) - 1);
  return lanes;
}

Plan QBlock::MakePlan(int64_t height, int64_t width, int64_t pieces) const {
  const ImageSize size = WindowResult(depthwise_->Window(), height, width);
  const int64_t vector = table_.lanes;
  Plan plan{{}, size.height, size.width};
  for (int64_t i = 0; i < pieces; ++i) {
    Wish wish{table_.lanes};
    wish.by_two = depthwise_->ByTwo();
    wish.first = i * size.height / pieces;
    wish.rows = (i + 1) * size.height / pieces - wish.first;
    Piece piece{};
    piece.first = wish.first;
    piece.geometry = MakeGeometry(depthwise_->Window(), height, width, wish);
    const Geometry &geometry = piece.geometry;
    piece.offsets = depthwise_->Offsets(geometry.taps);
    piece.positions = Product(wish.rows, size.width, "an image");
    const int64_t vectors = CeilDivide(piece.positions, vector);
    piece.made = (vectors | 1) * vector;
    if (Product(std::max(geometry.plane, piece.made), std::max(groups_, input_groups_), "an image") >
        std::numeric_limits<int32_t>::max())
      Fail("an image of %lld x %lld with %lld channels is too large. Give a smaller one.",
           static_cast<long long>(height), static_cast<long long>(width), static_cast<long long>(groups_ * 4));
    for (int32_t column : expand_.columns) piece.expand.push_back(static_cast<int32_t>(column * geometry.plane));
    for (int32_t column : project_.columns) piece.project.push_back(static_cast<int32_t>(column * piece.made));
    for (size_t k = 0; k < geometry.phases.size() && expands_; ++k) {
      const Layout &layout = geometry.phases[k];
      const int64_t rows = layout.inner_bottom - layout.inner_top, count = CeilDivide(rows * layout.pitch, vector);
      if (rows <= 0) continue;
      Stretch stretch{geometry.starts[k] + layout.inner_top * layout.pitch, {}, {}};
      AddRuns(stretch.runs, 0, count, table_.most, 4 * vector * input_groups_, false);
      stretch.lanes = Whole(stretch.begin, count, table_.lanes, 0);
      piece.stretches.push_back(std::move(stretch));
    }
    AddRuns(piece.project_runs, 0, vectors, table_.most, 4 * vector * groups_, false);
    piece.project_lanes = Whole(0, vectors, table_.lanes, piece.positions % vector);
    plan.pieces.push_back(std::move(piece));
  }
  return plan;
}

void QBlock::RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                       const uint8_t *residual, uint8_t *y) const {
  if (project_.sums != (residual != nullptr))
    Fail("project was made %s a sum, and got %s residual. Give one to a block with a sum, and to no other.",
         project_.sums ? "with" : "without", project_.sums ? "no" : "a");
  const bool apart = batch >= 2 * Threads(pool) && batch > 1;  // each image is one thread's
  const fw_pool alone{1, nullptr, nullptr};
  const int64_t pieces = Pieces(apart ? &alone : pool, height, width);
  const std::shared_ptr<const Plan> plan =
      plans_.Get(height, width, pieces, [&] { return MakePlan(height, width, pieces); });
  const int64_t x_image = Product(height * width, input_groups_ * 4, "an image");
  const int64_t y_image = Product(plan->rows * plan->columns, project_.groups * 4, "an image");
  Product(std::max(x_image, y_image), batch, "the batch");
  const auto one = [&](const fw_pool *threads, int64_t n) {
    RunOne(threads, *plan, x + n * x_image, residual == nullptr ? nullptr : residual + n * y_image, y + n * y_image);
  };
  if (apart) {
    ParallelFor(pool, batch, [&](int64_t n) { one(&alone, n); });
  } else {
    for (int64_t n = 0; n < batch; ++n) one(pool, n);
  }
}

void QBlock::RunOne(const fw_pool *pool, const Plan &plan, const uint8_t *x, const uint8_t *residual,
                    uint8_t *y) const {
  const auto room = [&](const Piece &piece) {
    return ThreadScratch<uint8_t>(Scratch::kImage, static_cast<size_t>(4 * piece.made * groups_));
  };
  if (plan.pieces.size() > 1) {
    ParallelFor(pool, static_cast<int64_t>(plan.pieces.size()), [&](int64_t task) {
      const Piece &piece = plan.pieces[static_cast<size_t>(task)];
      uint8_t *made = room(piece);
      Make(piece, x, 0, groups_, made);
      Project(plan, piece, made, residual, y, 0, project_.groups);
    });
    return;
  }
  // A small image: its channels are shared out, and then those of the result.
  const Piece &piece = plan.pieces[0];
  uint8_t *made = room(piece);
  const int64_t threads = Threads(pool);
  const auto share = [&](int64_t groups, const auto &body) {
    const int64_t shares = std::min(threads, groups);
    ParallelFor(pool, shares, [&](int64_t i) { body(i * groups / shares, (i + 1) * groups / shares); });
  };
  share(groups_, [&](int64_t begin, int64_t end) { Make(piece, x, begin, end, made); });
  share(project_.groups,
        [&](int64_t begin, int64_t end) { Project(plan, piece, made, residual, y, begin, end); });
}

void QBlock::Make(const Piece &piece, const uint8_t *x, int64_t begin, int64_t end, uint8_t *made) const {
  const Geometry &geometry = piece.geometry;
  const int64_t plane = 4 * geometry.plane, x_plane = 4 * geometry.height * geometry.width;
  const uint8_t *laid = nullptr;
  if (expands_) {
    uint8_t *planes = ThreadScratch<uint8_t>(Scratch::kPanel, static_cast<size_t>(plane * input_groups_));
    for (int64_t group = 0; group < input_groups_; ++group)
      geometry.Lay(table_.lay, x + x_plane * group, planes + plane * group, expand_.x_zero);
    laid = planes;
  }
  // Some groups at a time, that the nearest cache holds.
  const int64_t each = std::max<int64_t>(1, std::min(end - begin, kNear / plane));
  uint8_t *planes = ThreadScratch<uint8_t>(Scratch::kTile, static_cast<size_t>(plane * each));
  for (int64_t first = begin; first < end; first += each) {
    const int64_t count = std::min(each, end - first);
    for (int64_t i = 0; i < count && !expands_; ++i)
      geometry.Lay(table_.lay, x + x_plane * (first + i), planes + plane * i, depthwise_->Fill());
    for (const Stretch &stretch : piece.stretches) {
      ConvTile call = expand_.tile;
      call.y = planes;
      call.bias += 4 * first;
      call.scale += 4 * first;
      call.start += first;
      call.offset = piece.expand.data();
      call.y_plane = geometry.plane;
      call.end_group = static_cast<int32_t>(count);
      for (const Run &run : stretch.runs) {
        call.x = laid + 4 * (stretch.begin + int64_t{run.first} * table_.lanes);
        call.lanes = stretch.lanes.data() + run.first;
        call.tiles = run.tiles;
        table_.conv[run.vectors](call);
      }
    }
    for (int64_t i = 0; i < count && expands_; ++i) Surround(piece, planes + plane * i);
    for (int64_t i = 0; i < count; ++i) {
      PlaneTile call{};
      call.x = planes + plane * i;
      call.y = made + 4 * piece.made * (first + i);
      call.offset = piece.offsets.data();
      call.lanes = geometry.lanes.data();
      call.taps = static_cast<int32_t>(piece.offsets.size());
      call.vectors = static_cast<int32_t>(geometry.vectors);
      depthwise_->Run(call, first + i);
    }
  }
}

// Puts the border around what was expanded.
void QBlock::Surround(const Piece &piece, uint8_t *plane) const {
  uint32_t fill;
  std::memset(&fill, depthwise_->Fill(), sizeof fill);
  for (size_t k = 0; k < piece.geometry.phases.size(); ++k) {
    const Layout &layout = piece.geometry.phases[k];
    uint32_t *row = reinterpret_cast<uint32_t *>(plane) + piece.geometry.starts[k];
    for (int64_t r = 0; r < layout.rows; ++r, row += layout.pitch) {
      const bool inside = r >= layout.inner_top && r < layout.inner_bottom;
      const int64_t left = inside ? layout.inner_left : layout.columns;
      std::fill(row, row + left, fill);
      if (inside) std::fill(row + layout.inner_right, row + layout.columns, fill);
    }
  }
}

void QBlock::Project(const Plan &plan, const Piece &piece, const uint8_t *made, const uint8_t *residual, uint8_t *y,
                     int64_t begin, int64_t end) const {
  const int64_t at = 4 * plan.columns * piece.first;
  for (const Run &run : piece.project_runs) {
    ConvTile call = project_.tile;
    call.x = made + 4 * int64_t{run.first} * table_.lanes;
    call.y = y + at;
    call.other = residual == nullptr ? nullptr : residual + at;
    call.offset = piece.project.data();
    call.lanes = piece.project_lanes.data() + run.first;
    call.y_plane = plan.rows * plan.columns;
    call.tiles = run.tiles;
    call.first_group = static_cast<int32_t>(begin);
    call.end_group = static_cast<int32_t>(end);
    table_.conv[run.vectors](call);
  }
}

}  // namespace
}  // namespace flyweight::int8

extern "C" int fw_qblock_create(const fw_layer *expand, const fw_layer *depthwise, const fw_layer *project,
                                fw_layer **out) {
  return flyweight::Guard("fw_qblock_create", [&] {
    if (out == nullptr) flyweight::Fail("got NULL for out.");
    *out = new flyweight::int8::QBlock(expand, depthwise, project);
  });
}
