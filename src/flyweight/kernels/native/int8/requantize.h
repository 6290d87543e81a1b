// What integer layers have in common: how sums become bytes, how weights lie for the loops, and what depends on the size.
#ifndef FLYWEIGHT_INT8_REQUANTIZE_H
#define FLYWEIGHT_INT8_REQUANTIZE_H

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "core/scratch.h"
#include "flyweight_kernels.h"
#include "int8/loops.h"

namespace flyweight::int8 {

// The bounds of the result as the loops take them; throws Error where they are none. `scale` are the layer's.
Clamp MakeClamp(uint8_t zero, uint8_t low, uint8_t high, const float *scale, int64_t rows);

// A sum as the loops take it; throws Error where its bounds or scales are none.
Addition MakeAddition(const fw_qadd_spec &spec);

// `rows` scales, and zeros up to `padded`; throws Error where one is missing or not finite.
AlignedArray<float> CopyScale(const float *scale, int64_t rows, int64_t padded);

// bias[row] - x_zero * (sum of the row's weights), wrapping around as the sums of the loops do; zeros up to `padded`.
AlignedArray<int32_t> FoldBias(const int32_t *bias, const int64_t *weight_sums, uint8_t x_zero, int64_t rows,
                               int64_t padded);

// Sixteen weights as a table's loops read them: bytes, or 16 bits, the even ones first. Returns the bytes written.
int64_t PutSixteen(const int8_t weights[16], bool wide, int8_t *to);

// What was made for a size of image, cut into so many pieces, kept for the next run; a few sizes, for a service may see
// many.
template <class Plan>
class Plans {
 public:
  template <class Make>
  std::shared_ptr<const Plan> Get(int64_t height, int64_t width, int64_t pieces, const Make &make) {
    const std::array<int64_t, 3> size{height, width, pieces};
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = plans_.find(size);
      if (found != plans_.end()) return found->second;
    }
    std::shared_ptr<const Plan> plan = std::make_shared<const Plan>(make());
    const std::lock_guard<std::mutex> lock(mutex_);
    if (plans_.size() >= kKept) plans_.clear();
    plans_[size] = plan;
    return plan;
  }

 private:
  static constexpr size_t kKept = 16;
  std::mutex mutex_;
  std::map<std::array<int64_t, 3>, std::shared_ptr<const Plan>> plans_;
};

}  // namespace flyweight::int8

#endif
