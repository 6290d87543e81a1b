// Where a window goes over an image: checks and sizes.
#ifndef FLYWEIGHT_CORE_WINDOW_H
#define FLYWEIGHT_CORE_WINDOW_H

#include <cstdint>

#include "flyweight_kernels.h"

namespace flyweight {

// A side of an image and of a window may be this long; products of three such numbers stay far from overflow.
constexpr int64_t kLongestSide = int64_t{1} << 20;

// The places of a kernel, none of whose sides is longer than `most_kernel`; throws Error, naming `what`, where the
// window's numbers are no window, or above `most`.
int64_t CheckWindow(const fw_window &window, const char *what, int64_t most = kLongestSide,
                    int64_t most_kernel = kLongestSide);

struct ImageSize {
  int64_t height, width;
};

// Of the result; throws Error where it would be empty.
ImageSize WindowResult(const fw_window &window, int64_t height, int64_t width);

// a / b for b above zero, rounded up.
constexpr int64_t CeilDivide(int64_t a, int64_t b) { return a / b + (a % b > 0); }

}  // namespace flyweight

#endif
