// Convolutions of bytes with 4x4 blocks of weights: 1x1 and k x k, from c4 to c4.
#include <algorithm>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/layer.h"
#include "core/pool.h"
#include "core/sparse_matrix.h"
#include "int8/geometry.h"
#include "int8/packed.h"
#include "int8/requantize.h"
#include "int8/sources.h"

namespace flyweight::int8 {
namespace {

// Some neighbouring rows of the result.
struct Piece {
  Geometry geometry;
  std::vector<int32_t> offsets;  // (blocks): lanes
  std::vector<Run> runs;
  int64_t first;                 // row
};

// Of one piece the rows of the weight are shared out; several are each one thread's.
struct Plan {
  std::vector<Piece> pieces;
  int64_t rows, columns;  // of the result
};

class QConv final : public fw_layer, public ConvSource {
 public:
  explicit QConv(const fw_qconv_spec &spec);

  const char *kind() const override { return "quantized convolution"; }
  ConvView View() const override;
  void OutputSize(int64_t height, int64_t width, int64_t out[3]) const override {
    out[0] = rows_;
    const ImageSize size = WindowResult(window_, height, width);
    out[1] = size.height;
    out[2] = size.width;
  }
  void RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                 const uint8_t *residual, uint8_t *y) const override;

 private:
  std::vector<int8_t> Pack(const int8_t *values, int64_t inputs);
  int64_t Pieces(const fw_pool *pool, int64_t height, int64_t width) const;
  Plan MakePlan(int64_t height, int64_t width, int64_t pieces) const;
  void MakeRuns(Piece &piece, int64_t begin, int64_t end) const;
  bool Point() const;
  ConvTile Weights() const;
  ConvTile Tile(const Plan &plan, const Piece &piece, const Run &run, const uint8_t *planes) const;
  void RunOne(const fw_pool *pool, const Plan &plan, const uint8_t *x, const uint8_t *residual, uint8_t *y) const;

  const Table &table_;
  fw_window window_;
  Clamp clamp_{};
  uint8_t x_zero_;
  int64_t rows_, inputs_, groups_, input_groups_;
  Packing packing_;                // of an image of few channels
  std::vector<uint32_t> starts_;   // (groups + 1)
  std::vector<int32_t> columns_;   // (blocks): tap * input groups + input group
  AlignedArray<int8_t> values_;
  AlignedArray<int32_t> bias_;
  AlignedArray<float> scale_;
  bool sums_, second_;             // whether another image is added, and is a of the sum
  Addition addition_{};
  mutable Plans<Plan> plans_;
};

QConv::QConv(const fw_qconv_spec &spec)
    : table_(ActiveTable()),
      window_(spec.window),
      x_zero_(spec.x_zero),
      sums_(spec.sum != nullptr),
      second_(spec.sum_second != 0) {
  if (sums_) addition_ = MakeAddition(*spec.sum);
  const fw_matrix &weight = spec.weight;
  if (weight.block_rows != 4 || weight.block_columns != 4)
    Fail("weight has blocks of %dx%d. Give 4x4.", weight.block_rows, weight.block_columns);
  const int64_t taps = CheckWindow(window_, "window", kMostWindow, kMostKernel);
  if (weight.taps != taps)
    Fail("weight has %lld taps, but the window is %d x %d. Give kernel_h * kernel_w taps.",
         static_cast<long long>(weight.taps), window_.kernel_h, window_.kernel_w);
  TilePattern pattern = CheckMatrix(weight, "weight");
  rows_ = pattern.rows;
  groups_ = pattern.tile_rows;
  inputs_ = pattern.inputs;
  input_groups_ = (pattern.inputs + 3) / 4;
  if (groups_ > std::numeric_limits<int32_t>::max() / 4 ||
      pattern.columns.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    Fail("weight has %lld rows and %zu kept blocks. Give at most 2^31 of each.", static_cast<long long>(rows_),
         pattern.columns.size());
  columns_ = std::move(pattern.columns);
  starts_.assign(pattern.starts.begin(), pattern.starts.end());
  packing_ = Packing(window_, pattern.inputs);
  const int8_t *values = static_cast<const int8_t *>(weight.values);
  std::vector<int8_t> packed;
  if (packing_.gains()) {
    packed = Pack(values, pattern.inputs);
    values = packed.data();
    pattern.inputs = 4;
  }

  const int64_t block = table_.wide ? 32 : 16;
  values_ = MakeAligned<int8_t>(columns_.size() * static_cast<size_t>(block));
  std::vector<int64_t> sums(static_cast<size_t>(groups_) * 4, 0);
  for (int64_t group = 0; group < groups_; ++group) {
    for (uint32_t at = starts_[group]; at < starts_[group + 1]; ++at) {
      const int64_t input = columns_[at] % input_groups_ * 4;
      int8_t kept[16];
      for (int i = 0; i < 16; ++i) {
        // Beyond the edge the image holds anything, so the weights there are zeros, whatever the file says.
        const bool there = group * 4 + i / 4 < rows_ && input + i % 4 < pattern.inputs;
        kept[i] = there ? values[int64_t{at} * 16 + i] : int8_t{0};
        sums[static_cast<size_t>(group * 4 + i / 4)] += kept[i];
      }
      PutSixteen(kept, table_.wide, values_.get() + int64_t{at} * block);
    }
  }
  bias_ = FoldBias(spec.bias, sums.data(), x_zero_, rows_, groups_ * 4);
  scale_ = CopyScale(spec.scale, rows_, groups_ * 4);
  clamp_ = MakeClamp(spec.y_zero, spec.y_low, spec.y_high, scale_.get(), rows_);
}

// The tiles, each of one place of the kernel, as tiles of packed lanes: those that hold a number.
std::vector<int8_t> QConv::Pack(const int8_t *values, int64_t inputs) {
  const int64_t places = int64_t{window_.kernel_h} * window_.kernel_w;
  std::vector<int8_t> packed, row(static_cast<size_t>(16 * places));
  std::vector<uint32_t> starts(1, 0);
  std::vector<int32_t> columns;
  for (int64_t group = 0; group < groups_; ++group) {
    std::fill(row.begin(), row.end(), int8_t{0});
    for (uint32_t at = starts_[group]; at < starts_[group + 1]; ++at) {
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t to = i / 4 * 4 * places + 4 * int64_t{columns_[at]} + i % 4;
        if (i % 4 < inputs) row[static_cast<size_t>(to)] = values[16 * int64_t{at} + i];
      }
    }
    for (int64_t column = 0; column < packing_.columns(); ++column) {
      int8_t tile[16];
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t weight = packing_.Weight(column, i % 4);
        tile[i] = weight < 0 ? int8_t{0} : row[static_cast<size_t>(i / 4 * 4 * places + weight)];
      }
      if (std::all_of(tile, tile + 16, [](int8_t value) { return value == 0; })) continue;
      columns.push_back(static_cast<int32_t>(column));
      packed.insert(packed.end(), tile, tile + 16);
    }
    starts.push_back(static_cast<uint32_t>(columns.size()));
  }
  starts_ = std::move(starts);
  columns_ = std::move(columns);
  return packed;
}

int64_t QConv::Pieces(const fw_pool *pool, int64_t height, int64_t width) const {
  const ImageSize size = WindowResult(window_, height, width);
  // Of a 1x1 few vectors cost more cut in two than reading what the other thread wrote.
  const int64_t threads = Threads(pool), fewest = Point() ? 3 * table_.lanes * threads : 0;
  return size.height * size.width < fewest ? 1
                                           : PiecesOfRows(Threads(pool), size.height, size.width, table_.lanes);
}

Plan QConv::MakePlan(int64_t height, int64_t width, int64_t pieces) const {
  const ImageSize size = WindowResult(window_, height, width);
  Plan plan{{}, size.height, size.width};
  for (int64_t i = 0; i < pieces; ++i) {
    Wish wish{table_.lanes, false, true};
    wish.first = i * size.height / pieces;
    wish.rows = (i + 1) * size.height / pieces - wish.first;
    Piece piece{packing_.gains() ? packing_.Plan(height, width, wish) : MakeGeometry(window_, height, width, wish),
                {}, {}, wish.first};
    if (piece.geometry.direct && pieces > 1) {  // rows lie where they lie: vectors are shared out, not rows
      wish.first = wish.rows = piece.first = 0;
      piece.geometry = MakeGeometry(window_, height, width, wish);
    }
    const Geometry &geometry = piece.geometry;
    // Lanes to the last group's last tap have to be counted in 32 bits.
    if (Product(geometry.plane, input_groups_, "an image") > std::numeric_limits<int32_t>::max())
      Fail("an image of %lld x %lld with %lld channels is too large. Give a smaller one.",
           static_cast<long long>(height), static_cast<long long>(width), static_cast<long long>(input_groups_ * 4));
    piece.offsets.resize(columns_.size());
    for (size_t k = 0; k < columns_.size(); ++k) {
      const int64_t tap = columns_[k] / input_groups_, group = columns_[k] % input_groups_;
      piece.offsets[k] = static_cast<int32_t>(group * geometry.plane + geometry.taps[static_cast<size_t>(tap)]);
    }
    const int64_t shares = geometry.direct ? pieces : 1, share = geometry.direct ? i : 0;
    MakeRuns(piece, share * geometry.vectors / shares, (share + 1) * geometry.vectors / shares);
    plan.pieces.push_back(std::move(piece));
  }
  return plan;
}

// Of vectors [begin, end) of a piece.
void QConv::MakeRuns(Piece &piece, int64_t begin, int64_t end) const {
  const Geometry &geometry = piece.geometry;
  const bool partly = geometry.direct && geometry.positions % table_.lanes != 0 && end == geometry.vectors;
  const int64_t planes =
      packing_.gains() ? packing_.planes() : static_cast<int64_t>(geometry.phases.size() + geometry.direct);
  AddRuns(piece.runs, begin, end, table_.most, 4 * table_.lanes * input_groups_ * planes, partly);
}

void QConv::RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                      const uint8_t *residual, uint8_t *y) const {
  if (sums_ != (residual != nullptr))
    Fail("the layer was made %s a sum, and got %s residual. Give one to a layer with a sum, and to no other.",
         sums_ ? "with" : "without", sums_ ? "no" : "a");
  const bool apart = batch >= 2 * Threads(pool) && batch > 1;  // each image is one thread's
  const int64_t pieces = apart ? 1 : Pieces(pool, height, width);
  const std::shared_ptr<const Plan> plan =
      plans_.Get(height, width, pieces, [&] { return MakePlan(height, width, pieces); });
  const int64_t x_image = Product(height * width, input_groups_ * 4, "an image");
  const int64_t y_image = Product(plan->rows * plan->columns, groups_ * 4, "an image");
  Product(std::max(x_image, y_image), batch, "the batch");
  const auto at = [&](const uint8_t *image, int64_t n) { return image == nullptr ? nullptr : image + n * y_image; };
  if (apart) {
    const fw_pool alone{1, nullptr, nullptr};
    ParallelFor(pool, batch,
                [&](int64_t n) { RunOne(&alone, *plan, x + n * x_image, at(residual, n), y + n * y_image); });
  } else {
    for (int64_t n = 0; n < batch; ++n) RunOne(pool, *plan, x + n * x_image, at(residual, n), y + n * y_image);
  }
}

void QConv::RunOne(const fw_pool *pool, const Plan &plan, const uint8_t *x, const uint8_t *residual,
                   uint8_t *y) const {
  const int64_t x_plane = 4 * plan.pieces[0].geometry.height * plan.pieces[0].geometry.width;
  const auto add = [&](ConvTile &call, const Piece &piece) {
    const int64_t at = 4 * plan.columns * piece.first;
    call.y = y + at;
    call.other = residual == nullptr ? nullptr : residual + at;
  };
  if (plan.pieces.size() > 1) {
    ParallelFor(pool, static_cast<int64_t>(plan.pieces.size()), [&](int64_t task) {
      const Piece &piece = plan.pieces[static_cast<size_t>(task)];
      const Geometry &geometry = piece.geometry;
      const uint8_t *planes = x;
      if (!geometry.direct) {
        const size_t bytes = static_cast<size_t>(4 * geometry.plane * input_groups_);
        uint8_t *room = ThreadScratch<uint8_t>(Scratch::kTile, bytes);
        if (packing_.gains()) packing_.Lay(table_, &kAlone, geometry, x, room, x_zero_);
        for (int64_t group = 0; group < input_groups_ && !packing_.gains(); ++group)
          geometry.Lay(table_.lay, x + x_plane * group, room + 4 * geometry.plane * group, x_zero_);
        planes = room;
      }
      for (const Run &run : piece.runs) {
        ConvTile call = Tile(plan, piece, run, planes);
        add(call, piece);
        (run.last ? table_.conv_part : table_.conv)[run.vectors](call);
      }
    });
    return;
  }
  const Piece &piece = plan.pieces[0];
  const Geometry &geometry = piece.geometry;
  const uint8_t *planes = x;
  if (!geometry.direct) {
    uint8_t *room = ThreadScratch<uint8_t>(Scratch::kImage, static_cast<size_t>(4 * geometry.plane * input_groups_));
    // Groups by the handful, so that handing them out costs little.
    const int64_t each = std::max<int64_t>(1, input_groups_ / (4 * Threads(pool)));
    if (packing_.gains()) packing_.Lay(table_, pool, geometry, x, room, x_zero_);
    ParallelFor(pool, packing_.gains() ? 0 : (input_groups_ + each - 1) / each, [&](int64_t part) {
      const int64_t end = std::min(input_groups_, (part + 1) * each);
      for (int64_t group = part * each; group < end; ++group)
        geometry.Lay(table_.lay, x + x_plane * group, room + 4 * geometry.plane * group, x_zero_);
    });
    planes = room;
  }
  const int64_t runs = static_cast<int64_t>(piece.runs.size());
  const int64_t wanted = Threads(pool) == 1 ? 1 : (4 * Threads(pool) + runs - 1) / runs;
  const int64_t parts = std::max<int64_t>(1, std::min(wanted, groups_ / 4));
  ParallelFor(pool, runs * parts, [&](int64_t task) {
    // Few runs: neighbouring tasks take neighbouring rows of the weight, for those are what a thread keeps.
    const Run &run = piece.runs[static_cast<size_t>(parts > 1 ? task % runs : task)];
    const int64_t part = parts > 1 ? task / runs : 0;
    ConvTile call = Tile(plan, piece, run, planes);
    add(call, piece);
    call.first_group = static_cast<int32_t>(part * groups_ / parts);
    call.end_group = static_cast<int32_t>((part + 1) * groups_ / parts);
    (run.last ? table_.conv_part : table_.conv)[run.vectors](call);
  });
}

ConvTile QConv::Weights() const {
  ConvTile call{};
  call.bias = bias_.get();
  call.scale = scale_.get();
  call.start = starts_.data();
  call.values = values_.get();
  call.end_group = static_cast<int32_t>(groups_);
  call.clamp = clamp_;
  call.second = second_;
  call.addition = addition_;
  return call;
}

ConvTile QConv::Tile(const Plan &plan, const Piece &piece, const Run &run, const uint8_t *planes) const {
  ConvTile call = Weights();
  call.x = planes + 4 * int64_t{run.first} * table_.lanes;
  call.offset = piece.offsets.data();
  call.lanes = piece.geometry.lanes.data() + run.first;
  call.y_plane = plan.rows * plan.columns;
  call.tiles = run.tiles;
  call.last = run.last ? static_cast<int32_t>(piece.geometry.positions % table_.lanes) : 0;
  return call;
}

bool QConv::Point() const {
  const fw_window &w = window_;
  return w.kernel_h == 1 && w.kernel_w == 1 && w.stride_h == 1 && w.stride_w == 1 && w.pad_top == 0 &&
         w.pad_left == 0 && w.pad_bottom == 0 && w.pad_right == 0 && !packing_.gains();
}

ConvView QConv::View() const {
  return {Point(), rows_, inputs_, groups_, input_groups_, columns_, Weights(), sums_, x_zero_};
}

}  // namespace
}  // namespace flyweight::int8

extern "C" int fw_qconv_create(const fw_qconv_spec *spec, fw_layer **out) {
  return flyweight::Guard("fw_qconv_create", [&] {
    if (spec == nullptr || out == nullptr) flyweight::Fail("got NULL for %s.", spec == nullptr ? "spec" : "out");
    *out = new flyweight::int8::QConv(*spec);
  });
}
