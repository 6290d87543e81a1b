// Descriptions of layers, at random: what they point to has exactly the size that is said.
#ifndef FLYWEIGHT_CHECK_LAYERS_H
#define FLYWEIGHT_CHECK_LAYERS_H

#include <memory>
#include <vector>

#include "buffer.h"
#include "flyweight_kernels.h"

namespace check {

template <class T>
class Weights {
 public:
  // `density`: of 100 tiles so many are kept; above 100 there are no bits, and all are.
  Weights(Random &random, int64_t rows, int64_t inputs, int64_t taps, int block_rows, int block_columns, int density)
      : matrix{rows, inputs, taps, block_rows, block_columns, nullptr, 0, nullptr, 0} {
    const int64_t tiles = (rows + block_rows - 1) / block_rows * taps * ((inputs + block_columns - 1) / block_columns);
    int64_t kept = tiles;
    if (density <= 100) {
      keep_ = std::make_unique<Buffer<uint8_t>>((tiles + 7) / 8);
      keep_->Dirty(0);
      kept = 0;
      for (int64_t tile = 0; tile < tiles; ++tile)
        if (random.Chance(density)) {
          (*keep_)[tile / 8] = static_cast<uint8_t>((*keep_)[tile / 8] | 128 >> tile % 8);
          ++kept;
        }
      matrix.keep = keep_->get();
      matrix.keep_bytes = keep_->count();
    }
    values_ = std::make_unique<Buffer<T>>(kept * block_rows * block_columns);
    values_->Fill(random);
    matrix.values = values_->get();
    matrix.value_count = values_->count();
  }
  fw_matrix matrix;

 private:
  std::unique_ptr<Buffer<T>> values_;
  std::unique_ptr<Buffer<uint8_t>> keep_;
};

// A vector of `count` numbers, or NULL.
template <class T>
std::unique_ptr<Buffer<T>> Perhaps(Random &random, int64_t count, int percent) {
  if (!random.Chance(percent)) return nullptr;
  auto made = std::make_unique<Buffer<T>>(count);
  made->Fill(random);
  return made;
}

template <class T>
const T *Pointer(const std::unique_ptr<Buffer<T>> &buffer) {
  return buffer == nullptr ? nullptr : buffer->get();
}

inline fw_window AnyWindow(Random &random, int longest) {
  const auto from = [&](int low, int high) { return static_cast<int32_t>(random.From(low, high)); };
  fw_window window{};
  window.kernel_h = from(1, longest);
  window.kernel_w = random.Chance(70) ? window.kernel_h : from(1, longest);
  window.stride_h = random.Chance(60) ? 1 : from(1, 3);
  window.stride_w = random.Chance(70) ? window.stride_h : from(1, 3);
  window.dilation_h = random.Chance(80) ? 1 : from(1, 3);
  window.dilation_w = random.Chance(80) ? window.dilation_h : from(1, 3);
  const int most = random.Chance(95) ? 3 : 40;  // or farther than any kernel and any vector reaches
  window.pad_top = random.Chance(50) ? window.kernel_h / 2 : from(0, most);
  window.pad_left = random.Chance(50) ? window.kernel_w / 2 : from(0, most);
  window.pad_bottom = random.Chance(70) ? window.pad_top : from(0, most);
  window.pad_right = random.Chance(70) ? window.pad_left : from(0, most);
  return window;
}

constexpr fw_window kPoint = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0};

inline int AnyDensity(Random &random) {
  constexpr int some[] = {0, 5, 20, 50, 100, 101};
  return some[random.From(0, 5)];
}

inline int AnyBlock(Random &random) { return 1 << random.From(0, 4); }

// A layer that is freed.
struct Layer {
  Layer() = default;
  ~Layer() { fw_layer_free(made); }
  Layer(const Layer &) = delete;
  Layer &operator=(const Layer &) = delete;
  fw_layer *made = nullptr;
};

// A pool that runs the last task first, on the caller's thread.
inline void Backwards(void *, int64_t tasks, void (*task)(void *, int64_t), void *argument) {
  for (int64_t i = tasks - 1; i >= 0; --i) task(argument, i);
}
constexpr fw_pool kBackwards = {3, nullptr, Backwards};

}  // namespace check

#endif
