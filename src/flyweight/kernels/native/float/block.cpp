#include "float/block.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/fetch.h"
#include "core/window.h"

namespace flyweight {
namespace {

using ll = long long;

int32_t Offset(int64_t elements) {
  if (elements > std::numeric_limits<int32_t>::max())
    Fail("the block needs %lld floats at once, more than 2^31. Run smaller images.", ll{elements});
  return static_cast<int32_t>(elements);
}

// Elements from a row of scratch to the next: whole cache lines, and an odd number of them, so that rows which are
// written together don't fall into the same few places of the cache.
int64_t ScratchLd(int64_t columns) { return (CeilDivide(columns, 16) | 1) * 16; }

// Floats before and after expanded channels that the depthwise loop may read, and the widest padding at which no more
// are met: two vectors and a tap lie beyond the padding at most.
constexpr int64_t kLoose = 64;
constexpr int32_t kLoosePadding = 16;

// Where the input of each kept block begins, rows of inputs being `ld` apart.
std::vector<int32_t> Offsets(const TilePattern &pattern, int64_t ld) {
  Offset(Product(pattern.inputs, ld, "the image"));
  std::vector<int32_t> offsets;
  offsets.reserve(pattern.columns.size());
  for (const int32_t column : pattern.columns) offsets.push_back(static_cast<int32_t>(column * ld));
  return offsets;
}

BlockMatrix MakeBlockMatrix(const fw_conv_spec &spec, const char *what) {
  const fw_window &w = spec.window;
  CheckWindow(w, what);
  const bool point = w.kernel_h == 1 && w.kernel_w == 1 && w.stride_h == 1 && w.stride_w == 1 && w.pad_top == 0 &&
                     w.pad_left == 0 && w.pad_bottom == 0 && w.pad_right == 0;
  if (!point || spec.weight.taps != 1)
    Fail(
        "%s is a convolution of %dx%d, stride %dx%d, with taps=%lld. A block takes 1x1 of stride 1 without padding; "
        "run "
        "this one as a layer of its own.",
        what, w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, ll{spec.weight.taps});
  CheckActivation(spec.activation);
  return {MakeSparseMatrix(spec.weight, spec.bias, what), spec.activation};
}

// Tiles of columns of a part of the block. The loops for them are looked up once.
class Tiles {
 public:
  Tiles(const SpmmKernels &kernels, const BlockMatrix &part, const ColumnTiles &tiles)
      : tiles_(tiles), block_(part.matrix.pattern.block_rows), kernels_(kernels) {
    if (tiles.wider > 0) wide_ = kernels.spmm(block_, static_cast<int>(tiles.least) + 1, true);
    if (tiles.least > 0) narrow_ = kernels.spmm(block_, static_cast<int>(tiles.least), true);
    const TilePattern &pattern = part.matrix.pattern;
    call.values = part.matrix.values.get();
    call.starts = pattern.starts.data();
    call.ends = call.starts + 1;
    call.bias = part.matrix.bias.get();
    call.activation = part.activation;
  }

  void Run(int64_t tile) {
    call.columns = tiles_.ColumnsOf(tile);
    const int vectors = tiles_.VectorsOf(tile);
    if (call.columns < int64_t{vectors} * kernels_.lanes)
      kernels_.spmm(block_, vectors, false)(call);
    else
      (tile < tiles_.wider ? wide_ : narrow_)(call);
  }

  SpmmCall call{};

 private:
  const ColumnTiles &tiles_;
  int block_;
  const SpmmKernels &kernels_;
  SpmmKernel wide_ = nullptr, narrow_ = nullptr;
};

// For each block row the first block whose input is `input` or a later one.
std::vector<int64_t> StartsFrom(const TilePattern &pattern, int64_t input) {
  std::vector<int64_t> starts;
  starts.reserve(static_cast<size_t>(pattern.tile_rows));
  for (size_t row = 0; row + 1 < pattern.starts.size(); ++row) {
    const auto all = pattern.columns.begin(), end = all + pattern.starts[row + 1];
    starts.push_back(std::lower_bound(all + pattern.starts[row], end, input) - all);
  }
  return starts;
}

int64_t RowsOf(const TilePattern &pattern, int64_t first, int64_t last) {
  return std::min(last * pattern.block_rows, pattern.rows) - first * pattern.block_rows;
}

}  // namespace

BlockWeight MakeBlockWeight(const fw_block_spec &spec) {
  if (spec.depthwise == nullptr || spec.project == nullptr)
    Fail("got NULL for %s. A block may leave out its expand alone.",
         spec.depthwise == nullptr ? "depthwise" : "project");
  BlockWeight made{std::nullopt, MakeDepthwise(*spec.depthwise, "depthwise"), MakeBlockMatrix(*spec.project, "project"),
                   spec.residual != 0};
  if (spec.expand != nullptr) made.expand = MakeBlockMatrix(*spec.expand, "expand");
  const int64_t channels = made.depthwise.channels;
  if (made.expand && made.expand->matrix.pattern.rows != channels)
    Fail("expand has %lld rows, but depthwise %lld channels. Give as many.", ll{made.expand->matrix.pattern.rows},
         ll{channels});
  if (made.project.matrix.pattern.inputs != channels)
    Fail("project has %lld inputs, but depthwise %lld channels. Give as many.", ll{made.project.matrix.pattern.inputs},
         ll{channels});
  if (made.residual && made.rows() != made.inputs())
    Fail("the block adds its %lld inputs to %lld rows. Give as many rows, or residual = 0.", ll{made.inputs()},
         ll{made.rows()});
  return made;
}

BlockPlan::BlockPlan(const BlockWeight &weight, const SpmmKernels &kernels, int64_t height, int64_t width, BlockCut cut)
    : weight_(weight),
      kernels_(kernels),
      cut_(cut),
      height_(height),
      width_(width),
      result_(WindowResult(weight.depthwise.window, height, width)),
      groups_(CeilDivide(weight.depthwise.channels, cut.group)),
      zeros_(Zeros(width)) {
  if (weight.residual && (result_.height != height || result_.width != width))
    Fail(
        "the block adds x of %lld x %lld to a result of %lld x %lld. Give a window that keeps the size, or residual = "
        "0.",
        ll{height}, ll{width}, ll{result_.height}, ll{result_.width});
  int64_t most_rows = 0, most_inputs = 0;
  for (int64_t strip = 0; strip < cut_.strips; ++strip) {
    const Range rows = ResultRows(strip), met = MetRows(rows);
    most_rows = std::max(most_rows, rows.last - rows.first);
    most_inputs = std::max(most_inputs, met.last - met.first);
  }
  made_ld_ = ScratchLd(most_rows * result_.width);
  depthwise_size_ = Product(weight.depthwise.channels, made_ld_, "the block");
  project_offsets_ = Offsets(weight.project.matrix.pattern, made_ld_);
  Offset(Product(weight.inputs(), height * width, "the image"));
  Offset(Product(weight.rows(), result_.height * result_.width, "the result"));
  if (weight.expand) {
    expanded_ld_ = ScratchLd(most_inputs * width);
    expanded_size_ = Product(cut.group, expanded_ld_, "the block") + 2 * kLoose;
    expand_offsets_ = Offsets(weight.expand->matrix.pattern, height * width);
    gathered_ld_ = ScratchLd(std::min(most_inputs, height) * width);
    gathered_offsets_ = Offsets(weight.expand->matrix.pattern, gathered_ld_);
  }
  for (int64_t part = 0; part <= cut_.parts && cut_.parts > 1; ++part)
    part_starts_.push_back(StartsFrom(weight.project.matrix.pattern, groups_ * part / cut_.parts * cut_.group));
  loop_ = DepthwiseInUse().choose(weight.depthwise.Call(width, result_.width));
}

Range BlockPlan::ResultRows(int64_t strip) const {
  return {result_.height * strip / cut_.strips, result_.height * (strip + 1) / cut_.strips};
}

Range BlockPlan::MetRows(const Range &result) const {
  const fw_window &w = weight_.depthwise.window;
  return {result.first * w.stride_h - w.pad_top,
          (result.last - 1) * w.stride_h - w.pad_top + int64_t{w.kernel_h - 1} * w.dilation_h + 1};
}

Range BlockPlan::Inside(const Range &rows) const {
  // Where all rows lie beyond the image, none at the end of them that is nearer to it.
  if (rows.last <= 0) return {rows.last, rows.last};
  if (rows.first >= height_) return {rows.first, rows.first};
  return {std::max<int64_t>(rows.first, 0), std::min(rows.last, height_)};
}

ColumnTiles BlockPlan::ProjectTiles(int64_t strip) const {
  const Range rows = ResultRows(strip);
  return ColumnTiles((rows.last - rows.first) * result_.width, kernels_.lanes, cut_.project_vectors);
}

void BlockPlan::Expand(const BlockInput &x, const Range &rows, int64_t first, int64_t last, float *expanded) const {
  const int64_t columns = (rows.last - rows.first) * width_;
  if (columns == 0) return;
  const ColumnTiles tiles(columns, kernels_.lanes, cut_.expand_vectors);
  Tiles run(kernels_, *weight_.expand, tiles);
  run.call.offsets = x.gathered ? gathered_offsets_.data() : expand_offsets_.data();
  run.call.first = first;
  run.call.last = last;
  run.call.rows = RowsOf(weight_.expand->matrix.pattern, first, last);
  run.call.y_ld = expanded_ld_;
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    run.call.x = x.x + (x.gathered ? 0 : rows.first * width_) + tiles.FirstColumn(tile);
    run.call.y = expanded + tiles.FirstColumn(tile);
    run.Run(tile);
  }
}

void BlockPlan::Fetch(const float *x, int64_t strip) const {
  const Range inside = Inside(MetRows(ResultRows(strip)));
  const int64_t count = (inside.last - inside.first) * width_;
  FetchRows(x + inside.first * width_, height_ * width_, weight_.inputs(), count);
}

BlockInput BlockPlan::Gather(const float *x, int64_t x_parts, int64_t strip, float *rows) const {
  const Range inside = Inside(MetRows(ResultRows(strip)));
  for (int64_t part = 0; part < x_parts; ++part) {
    const int64_t begin = height_ * part / x_parts, end = height_ * (part + 1) / x_parts;
    const int64_t first = std::max(begin, inside.first), last = std::min(end, inside.last);
    if (first >= last) continue;
    const float *from = x + weight_.inputs() * begin * width_ + (first - begin) * width_;
    const int64_t ld = (end - begin) * width_, count = (last - first) * width_;
    if (first == inside.first && last == inside.last) FetchRows(from, ld, weight_.inputs(), count);
    float *to = rows + (first - inside.first) * width_;
    for (int64_t channel = 0; channel < weight_.inputs(); ++channel, from += ld, to += gathered_ld_)
      std::copy_n(from, count, to);
  }
  return {rows, true};
}

void BlockPlan::Make(const BlockInput &x, int64_t strip, int64_t group, float *expanded, float *made) const {
  const Range rows = ResultRows(strip), met = MetRows(rows), inside = Inside(met);
  const int64_t channel = group * cut_.group, end = std::min(channel + cut_.group, weight_.depthwise.channels);
  DepthwiseCall call = weight_.depthwise.Call(width_, result_.width);
  if (weight_.expand) {
    // Rows above and below the image are laid out too, as zeros: then the depthwise loop need not ask for each.
    expanded += kLoose;
    const fw_window &w = weight_.depthwise.window;
    call.loose = w.pad_left <= kLoosePadding && w.pad_right <= kLoosePadding;
    const int64_t block = weight_.expand->matrix.pattern.block_rows;
    const int64_t above = (inside.first - met.first) * width_, below = (met.last - inside.last) * width_;
    const int64_t columns = (inside.last - inside.first) * width_;
    for (float *plane = expanded; plane < expanded + (end - channel) * expanded_ld_; plane += expanded_ld_) {
      std::fill_n(plane, above, 0.0f);
      std::fill_n(plane + above + columns, below, 0.0f);
    }
    Expand(x, inside, channel / block, CeilDivide(end, block), expanded + above);
    call.x = expanded;
    call.x_plane = expanded_ld_;
    call.x_first = met.first;
    call.x_last = met.last;
  } else {
    call.x = x.x + channel * height_ * width_ + inside.first * width_;
    call.x_plane = height_ * width_;
    call.x_first = inside.first;
    call.x_last = inside.last;
  }
  call.channels = end - channel;
  call.zeros = zeros_.get();
  call.weight += channel * weight_.depthwise.window.kernel_h * weight_.depthwise.window.kernel_w;
  call.bias += channel;
  call.y = made + channel * made_ld_;
  call.y_plane = made_ld_;
  call.y_ld = result_.width;
  call.first = rows.first;
  call.last = rows.last;
  loop_(call);
}

void BlockPlan::Project(const BlockInput &x, const float *made, int64_t strip, Range tiles, Range rows, bool cut_y,
                        float *y) const {
  const ColumnTiles cut = ProjectTiles(strip);
  const TilePattern &pattern = weight_.project.matrix.pattern;
  const Range made_rows = ResultRows(strip);
  const int64_t row = rows.first * pattern.block_rows, column_of_strip = made_rows.first * result_.width;
  const int64_t plane = (cut_y ? made_rows.last - made_rows.first : result_.height) * result_.width;
  const int64_t begin = row * plane + column_of_strip * (cut_y ? weight_.rows() : 1);
  // Where a residual is added, rows of x are rows of the result.
  const int64_t x_plane = x.gathered ? gathered_ld_ : height_ * width_;
  const int64_t x_first = x.gathered ? Inside(MetRows(made_rows)).first : 0;
  const int64_t x_begin = row * x_plane + (made_rows.first - x_first) * width_;
  Tiles run(kernels_, weight_.project, cut);
  run.call.offsets = project_offsets_.data();
  run.call.first = rows.first;
  run.call.last = rows.last;
  run.call.rows = RowsOf(pattern, rows.first, rows.last);
  run.call.y_ld = plane;
  run.call.residual_ld = x_plane;
  for (int64_t tile = tiles.first; tile < tiles.last; ++tile) {
    const int64_t column = cut.FirstColumn(tile);
    run.call.x = made + column;
    run.call.y = y + begin + column;
    run.call.residual = weight_.residual ? x.x + x_begin + column : nullptr;
    run.Run(tile);
  }
}

void BlockPlan::ProjectPart(const BlockInput &x, const float *made, int64_t part, Range rows, float *y) const {
  const ColumnTiles cut = ProjectTiles(0);
  const TilePattern &pattern = weight_.project.matrix.pattern;
  const int64_t plane = result_.height * result_.width, begin = rows.first * pattern.block_rows * plane;
  const int64_t x_plane = x.gathered ? gathered_ld_ : height_ * width_;
  const int64_t x_begin = rows.first * pattern.block_rows * x_plane;
  const bool last = part + 1 == cut_.parts;
  Tiles run(kernels_, weight_.project, cut);
  run.call.offsets = project_offsets_.data();
  run.call.starts = part_starts_[static_cast<size_t>(part)].data();
  run.call.ends = part_starts_[static_cast<size_t>(part) + 1].data();
  if (part > 0) run.call.bias = nullptr;
  if (!last) run.call.activation = FW_NONE;
  run.call.first = rows.first;
  run.call.last = rows.last;
  run.call.rows = RowsOf(pattern, rows.first, rows.last);
  run.call.y_ld = plane;
  run.call.residual_ld = x_plane;
  for (int64_t tile = 0; tile < cut.count; ++tile) {
    const int64_t column = cut.FirstColumn(tile);
    run.call.x = made + column;
    run.call.y = y + begin + column;
    run.call.residual = last && weight_.residual ? x.x + x_begin + column : nullptr;
    run.Run(tile);
  }
}

}  // namespace flyweight
