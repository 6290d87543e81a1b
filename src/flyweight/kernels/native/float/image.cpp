#include "float/image.h"

#include <algorithm>
#include <cstring>

#include "core/sparse_matrix.h"
#include "core/window.h"

namespace flyweight {
namespace {

constexpr int64_t kSlack = 128;           // floats that a vector may read beyond the last column
constexpr int64_t kLineFloats = 16;       // of a cache line
constexpr int64_t kPageFloats = 1024;     // channels a page apart would fall into the same few lines of the cache
constexpr int64_t kBandFloats = 1 << 18;  // a megabyte: with the weights and the result, what a level-2 cache holds
constexpr int64_t kLeastColumns = 256;    // of a band, so that there are tiles to choose from

void Zero(float *from, int64_t count) {
  if (count > 0) std::memset(from, 0, static_cast<size_t>(count) * sizeof(float));
}

}  // namespace

ImagePlan::ImagePlan(const fw_window &window, int64_t channels, int64_t height, int64_t width, int64_t threads)
    : window_(window), channels_(channels), height_(height), width_(width) {
  const ImageSize out = WindowResult(window, height, width);
  out_height_ = out.height;
  out_width_ = out.width;
  direct_ = window.kernel_h == 1 && window.kernel_w == 1 && window.stride_h == 1 && window.stride_w == 1 &&
            window.pad_top == 0 && window.pad_left == 0 && window.pad_bottom == 0 && window.pad_right == 0;
  shifts_ = window.stride_h == 1 && window.stride_w == 1 && out_width_ == width;
  if (direct_) {
    band_rows_ = out_height_;
    inputs_ = {{0}, height * width, false};
    return;
  }
  // Copies are numbered as taps meet them.
  std::vector<size_t> copy_of;
  for (int64_t dy = 0; dy < window.kernel_h; ++dy) {
    for (int64_t dx = 0; dx < window.kernel_w; ++dx) {
      const Copy wanted{dx * window.dilation_w - window.pad_left, dy * window.dilation_h % window.stride_h, 0, 0};
      const auto copy = std::find_if(copies_.begin(), copies_.end(), [&](const Copy &other) {
        return other.shift == wanted.shift && other.phase == wanted.phase;
      });
      copy_of.push_back(static_cast<size_t>(copy - copies_.begin()));
      if (copy == copies_.end()) copies_.push_back(wanted);
    }
  }
  reach_ = int64_t{window.kernel_h - 1} * window.dilation_h / window.stride_h;
  const int64_t copies = static_cast<int64_t>(copies_.size());
  ChooseBand(reach_, copies, threads);
  const int64_t rows = band_rows_ + reach_;
  int64_t plane = CeilDivide(Product(rows, out_width_, "the image"), kLineFloats) * kLineFloats;
  if (plane % kPageFloats == 0) plane += kLineFloats;
  const int64_t copy_size = Product(plane, channels, "the image");
  size_ = Product(copies, copy_size, "the image") + kSlack;
  inputs_ = {{}, plane, true};
  for (int64_t copy = 0; copy < copies; ++copy) copies_[static_cast<size_t>(copy)].begin = copy * copy_size;
  for (size_t tap = 0; tap < copy_of.size(); ++tap) {
    const int64_t down = static_cast<int64_t>(tap) / window.kernel_w * window.dilation_h / window.stride_h;
    inputs_.taps.push_back(copies_[copy_of[tap]].begin + down * out_width_);
  }
  if (!shifts_) return;
  for (Copy &copy : copies_) {
    copy.mask = masks_.size();
    std::vector<uint32_t> mask(static_cast<size_t>(std::min(rows, height) * width));
    for (size_t i = 0; i < mask.size(); ++i) {
      const int64_t column = static_cast<int64_t>(i) % width + copy.shift;
      mask[i] = column >= 0 && column < width ? ~uint32_t{0} : 0;
    }
    masks_.push_back(std::move(mask));
  }
}

// As many rows as the cache holds copies of, all bands about alike; never so few that the rows they share are most of
// it. As many for each thread where that leaves them large enough: it then reads copies that it made itself.
void ImagePlan::ChooseBand(int64_t reach, int64_t copies, int64_t threads) {
  const int64_t row = std::max<int64_t>(1, Product(Product(copies, channels_, "the image"), out_width_, "the image"));
  const int64_t least = std::max(2 * reach, CeilDivide(kLeastColumns, out_width_));
  const int64_t most = std::clamp<int64_t>(std::max(kBandFloats / row - reach, least), 1, out_height_);
  const int64_t bands = CeilDivide(out_height_, most), shared = CeilDivide(bands, threads) * threads;
  band_rows_ = CeilDivide(out_height_, bands);
  const int64_t rows = CeilDivide(out_height_, shared);
  if (rows >= least && CeilDivide(out_height_, rows) == shared) band_rows_ = rows;
}

void ImagePlan::Prepare(const SpmmKernels &kernels, const float *x, int64_t band, int64_t first, int64_t last,
                        float *copies) const {
  const int64_t out_row = band * band_rows_;
  const int64_t rows = std::min(band_rows_, out_height_ - out_row) + reach_;
  for (const Copy &copy : copies_) {
    for (int64_t channel = first; channel < last; ++channel) {
      float *const to = copies + copy.begin + channel * inputs_.channel_ld;
      PrepareChannel(kernels, copy, x + channel * height_ * width_, out_row, rows, to);
      Zero(to + rows * out_width_, inputs_.channel_ld - rows * out_width_);
    }
  }
  if (last == channels_) Zero(copies + size_ - kSlack, kSlack);
}

void ImagePlan::PrepareChannel(const SpmmKernels &kernels, const Copy &copy, const float *x, int64_t out_row,
                               int64_t rows, float *to) const {
  const int64_t stride_h = window_.stride_h, stride_w = window_.stride_w;
  // Row r of the copy is row r * stride - above of the image, column c is c * stride + shift.
  const int64_t above = window_.pad_top - copy.phase - out_row * stride_h;
  const int64_t first = std::clamp<int64_t>(CeilDivide(above, stride_h), 0, rows);
  const int64_t end = std::clamp<int64_t>(CeilDivide(height_ + above, stride_h), first, rows);
  const int64_t left = std::clamp<int64_t>(CeilDivide(-copy.shift, stride_w), 0, out_width_);
  const int64_t right = std::clamp<int64_t>(CeilDivide(width_ - copy.shift, stride_w), left, out_width_);
  Zero(to, first * out_width_);
  float *const inside = to + first * out_width_;
  const float *const from = x + (first * stride_h - above) * width_;
  if (first == end || left == right)
    Zero(inside, (end - first) * out_width_);
  else if (shifts_)
    kernels.shift_plane(from, (end - first) * width_, copy.shift, masks_[copy.mask].data(), inside);
  else
    kernels.copy_rows(from + left * stride_w + copy.shift, stride_h * width_, stride_w, end - first, left, right - left,
                      out_width_, inside);
  Zero(to + end * out_width_, (rows - end) * out_width_);
}

}  // namespace flyweight
