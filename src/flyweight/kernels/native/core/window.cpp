#include "core/window.h"

#include "core/error.h"

namespace flyweight {

using ll = long long;

int64_t CheckWindow(const fw_window &window, const char *what, int64_t most, int64_t most_kernel) {
  const auto check = [what](const char *name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
      Fail("%s.%s is %lld. Give %lld to %lld.", what, name, ll{value}, ll{least}, ll{most});
  };
  check("kernel_h", window.kernel_h, 1, most_kernel);
  check("kernel_w", window.kernel_w, 1, most_kernel);
  check("stride_h", window.stride_h, 1, most);
  check("stride_w", window.stride_w, 1, most);
  check("dilation_h", window.dilation_h, 1, most);
  check("dilation_w", window.dilation_w, 1, most);
  check("pad_top", window.pad_top, 0, most);
  check("pad_left", window.pad_left, 0, most);
  check("pad_bottom", window.pad_bottom, 0, most);
  check("pad_right", window.pad_right, 0, most);
  return static_cast<int64_t>(window.kernel_h) * window.kernel_w;
}

ImageSize WindowResult(const fw_window &window, int64_t height, int64_t width) {
  if (height > kLongestSide || width > kLongestSide)
    Fail("got an image of %lld x %lld. Give sides of at most %lld.", ll{height}, ll{width}, ll{kLongestSide});
  const int64_t span_h = int64_t{window.kernel_h - 1} * window.dilation_h + 1;
  const int64_t span_w = int64_t{window.kernel_w - 1} * window.dilation_w + 1;
  const int64_t padded_h = height + window.pad_top + window.pad_bottom;
  const int64_t padded_w = width + window.pad_left + window.pad_right;
  if (padded_h < span_h || padded_w < span_w)
    Fail(
        "an image of %lld x %lld, %lld x %lld with its padding, is smaller than the kernel's span of %lld x %lld. "
        "Give a larger image or more padding.",
        ll{height}, ll{width}, ll{padded_h}, ll{padded_w}, ll{span_h}, ll{span_w});
  return {(padded_h - span_h) / window.stride_h + 1, (padded_w - span_w) / window.stride_w + 1};
}

}  // namespace flyweight
