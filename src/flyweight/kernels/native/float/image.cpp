#include "float/image.h"

#include <algorithm>
#include <cstring>

#include "core/sparse_matrix.h"
#include "core/window.h"

namespace flyweight {
namespace {

constexpr int64_t kSlack = 64;        // floats that a vector may read beyond the last column
constexpr int64_t kLineFloats = 16;   // of a cache line
constexpr int64_t kPageFloats = 1024;  // channels a page apart would fall into the same few lines of the cache

}  // namespace

ImagePlan::ImagePlan(const fw_window &window, int64_t channels, int64_t height, int64_t width)
    : window_(window), channels_(channels), height_(height), width_(width) {
  const ImageSize out = WindowResult(window, height, width);
  out_height_ = out.height;
  out_width_ = out.width;
  direct_ = window.kernel_h == 1 && window.kernel_w == 1 && window.stride_h == 1 && window.stride_w == 1 &&
            window.pad_top == 0 && window.pad_left == 0 && window.pad_bottom == 0 && window.pad_right == 0;
  shifts_ = window.stride_h == 1 && window.stride_w == 1 && out_width_ == width;
  if (direct_) {
    inputs_ = {{0}, height * width, false};
    return;
  }
  // Copies are numbered as taps meet them.
  for (int64_t dy = 0; dy < window.kernel_h; ++dy)
    rows_ = std::max(rows_, dy * window.dilation_h / window.stride_h + out_height_);
  int64_t plane = CeilDivide(Product(rows_, out_width_, "the image"), kLineFloats) * kLineFloats;
  if (plane % kPageFloats == 0) plane += kLineFloats;
  const int64_t copy_size = Product(plane, channels, "the image");
  inputs_ = {{}, plane, true};
  for (int64_t dy = 0; dy < window.kernel_h; ++dy) {
    for (int64_t dx = 0; dx < window.kernel_w; ++dx) {
      const int64_t down = dy * window.dilation_h;
      const Copy wanted{dx * window.dilation_w - window.pad_left, down % window.stride_h, 0, 0};
      auto copy = std::find_if(copies_.begin(), copies_.end(), [&](const Copy &other) {
        return other.shift == wanted.shift && other.phase == wanted.phase;
      });
      if (copy == copies_.end()) {
        copies_.push_back(wanted);
        copy = copies_.end() - 1;
        copy->begin = Product(static_cast<int64_t>(copies_.size()) - 1, copy_size, "the image");
      }
      inputs_.taps.push_back(copy->begin + down / window.stride_h * out_width_);
    }
  }
  size_ = Product(static_cast<int64_t>(copies_.size()), copy_size, "the image") + kSlack;
  if (!shifts_) return;
  for (Copy &copy : copies_) {
    copy.mask = masks_.size();
    std::vector<uint32_t> mask(static_cast<size_t>(height * width));
    for (int64_t i = 0; i < height * width; ++i) {
      const int64_t column = i % width + copy.shift;
      mask[static_cast<size_t>(i)] = column >= 0 && column < width ? ~uint32_t{0} : 0;
    }
    masks_.push_back(std::move(mask));
  }
}

void ImagePlan::Prepare(const SpmmKernels &kernels, const float *x, int64_t first, int64_t last, float *copies) const {
  const auto zero = [](float *from, int64_t count) {
    if (count > 0) std::memset(from, 0, static_cast<size_t>(count) * sizeof(float));
  };
  const int64_t plane = height_ * width_;
  for (const Copy &copy : copies_) {
    for (int64_t channel = first; channel < last; ++channel) {
      float *const to = copies + copy.begin + channel * inputs_.channel_ld;
      const float *const from = x + channel * plane;
      if (shifts_) {
        // At stride 1 the copy has the padded image's rows, all of them.
        const int64_t above = window_.pad_top * width_;
        zero(to, above);
        kernels.shift_plane(from, plane, copy.shift, masks_[copy.mask].data(), to + above);
        zero(to + above + plane, inputs_.channel_ld - above - plane);
      } else {
        PrepareRows(kernels, copy, from, to);
        zero(to + rows_ * out_width_, inputs_.channel_ld - rows_ * out_width_);
      }
    }
  }
  if (last == channels_) zero(copies + size_ - kSlack, kSlack);
}

void ImagePlan::PrepareRows(const SpmmKernels &kernels, const Copy &copy, const float *x, float *to) const {
  const int64_t stride_h = window_.stride_h, stride_w = window_.stride_w;
  // Row r of the copy is row r * stride + phase - pad_top of the image, column c is c * stride + shift.
  const int64_t above = window_.pad_top - copy.phase;
  const int64_t first = std::clamp<int64_t>(CeilDivide(above, stride_h), 0, rows_);
  const int64_t end = std::clamp<int64_t>(CeilDivide(height_ + above, stride_h), first, rows_);
  const int64_t left = std::clamp<int64_t>(CeilDivide(-copy.shift, stride_w), 0, out_width_);
  const int64_t right = std::clamp<int64_t>(CeilDivide(width_ - copy.shift, stride_w), left, out_width_);
  std::memset(to, 0, static_cast<size_t>(first * out_width_) * sizeof(float));
  if (first < end && left < right)
    kernels.copy_rows(x + (first * stride_h - above) * width_ + left * stride_w + copy.shift, stride_h * width_, stride_w,
                      end - first, left, right - left, out_width_, to + first * out_width_);
  else
    std::memset(to + first * out_width_, 0, static_cast<size_t>((end - first) * out_width_) * sizeof(float));
  std::memset(to + end * out_width_, 0, static_cast<size_t>((rows_ - end) * out_width_) * sizeof(float));
}

}  // namespace flyweight
