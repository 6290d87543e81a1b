// Copies of images that let every place of a kernel read one column after the other.
namespace flyweight {
namespace FW_ISA {
namespace {

static void CopyRows(const float *x, int64_t x_ld, int64_t stride, int64_t rows, int64_t left, int64_t count,
                     int64_t width, float *y) {
  constexpr int kLanes = Vec::kLanes;
  for (int64_t row = 0; row < rows; ++row, x += x_ld, y += width) {
    for (int64_t i = 0; i < left; ++i) y[i] = 0.0f;
    float *const to = y + left;
    int64_t i = 0;
    if (stride == 1) {
      for (; i + kLanes <= count; i += kLanes) Vec::Store(to + i, Vec::Load(x + i));
      if (i < count) {
        const Vec::Mask mask = Vec::First(count - i);
        Vec::Store(to + i, Vec::Load(x + i, mask), mask);
      }
    } else if (stride == 2) {
      // What lies behind the last taken element may be beyond the image: the last vectors are read in part.
      for (; i + kLanes < count; i += kLanes)
        Vec::Store(to + i, Vec::Even(Vec::Load(x + 2 * i), Vec::Load(x + 2 * i + kLanes)));
      if (i < count) {
        const int64_t there = 2 * (count - i) - 1;
        const V low = Vec::Load(x + 2 * i, Vec::First(there));
        const V high = there > kLanes ? Vec::Load(x + 2 * i + kLanes, Vec::First(there - kLanes)) : Vec::Set(0.0f);
        Vec::Store(to + i, Vec::Even(low, high), Vec::First(count - i));
      }
    } else {
      for (; i < count; ++i) to[i] = x[i * stride];
    }
    for (int64_t j = left + count; j < width; ++j) y[j] = 0.0f;
  }
}

static void ShiftPlane(const float *x, int64_t count, int64_t shift, const uint32_t *mask, float *y) {
  constexpr int kLanes = Vec::kLanes;
  int64_t i = 0;
  const auto one = [&](int64_t at) { y[at] = mask[at] != 0 ? x[at + shift] : 0.0f; };
  for (; i < count && i + shift < 0; ++i) one(i);
  for (; i + kLanes <= count && i + shift + kLanes <= count; i += kLanes)
    Vec::Store(y + i, Vec::And(Vec::Load(x + i + shift), mask + i));
  for (; i < count; ++i) one(i);
}

}  // namespace
}  // namespace FW_ISA
}  // namespace flyweight
