// An image as the taps of a convolution read it: for each, one input's columns lie one after the other.
#ifndef FLYWEIGHT_FLOAT_IMAGE_H
#define FLYWEIGHT_FLOAT_IMAGE_H

#include <cstdint>
#include <vector>

#include "core/kernels.h"
#include "float/product.h"
#include "flyweight_kernels.h"

namespace flyweight {

// One copy of an image for each horizontal place of the kernel, as wide as the result, its rows padded and, where the
// stride skips some, split by what is left of their number: then every tap reads a whole plane from one place on, and
// no column is computed in vain. (One padded copy for all would compute its margins: a quarter more at 7 x 7.) Copies
// are made of a band of the result's rows at a time, so that they stay in the cache. A 1x1 kernel at stride 1 without
// padding reads the image as it is.
class ImagePlan {
 public:
  // Of a checked window; throws Error where the result would be empty or too large.
  ImagePlan(const fw_window &window, int64_t channels, int64_t height, int64_t width, int64_t threads);

  bool direct() const { return direct_; }
  int64_t out_height() const { return out_height_; }
  int64_t out_width() const { return out_width_; }
  // Rows of the result in a band; the last band may have fewer. All of them where nothing is copied.
  int64_t band_rows() const { return band_rows_; }
  int64_t bands() const { return (out_height_ + band_rows_ - 1) / band_rows_; }
  // Where a band's taps lie among its copies; in the image itself, if that is direct.
  const Inputs &inputs() const { return inputs_; }
  // Floats of a band's copies, with what a vector may read beyond the last.
  int64_t size() const { return size_; }
  // Writes a band's copies of channels [first, last); the last of them also what lies beyond.
  void Prepare(const SpmmKernels &kernels, const float *x, int64_t band, int64_t first, int64_t last,
               float *copies) const;

 private:
  struct Copy {
    int64_t shift;  // columns: the tap's place minus the padding
    int64_t phase;  // rows: of the padded image, phase, phase + stride, ...
    int64_t begin;  // floats from the first copy on
    size_t mask;    // into masks_, where rows are shifted whole
  };

  void ChooseBand(int64_t reach, int64_t copies, int64_t threads);
  void PrepareChannel(const SpmmKernels &kernels, const Copy &copy, const float *x, int64_t out_row, int64_t rows,
                      float *to) const;

  fw_window window_;
  int64_t channels_, height_, width_, out_height_, out_width_;
  bool direct_, shifts_;
  int64_t band_rows_ = 0;
  int64_t reach_ = 0;  // rows of a copy that a band has beyond its own
  int64_t size_ = 0;
  Inputs inputs_;
  std::vector<Copy> copies_;
  std::vector<std::vector<uint32_t>> masks_;
};

}  // namespace flyweight

#endif
