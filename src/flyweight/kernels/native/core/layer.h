// What stands behind the C interface's fw_layer: a checked, packed layer that runs from any thread.
#ifndef FLYWEIGHT_CORE_LAYER_H
#define FLYWEIGHT_CORE_LAYER_H

#include "flyweight_kernels.h"

// Global, for the C interface names it. A layer overrides what it can do; the rest says that it can't.
struct fw_layer {
  virtual ~fw_layer() = default;
  virtual const char *kind() const = 0;  // "convolution", as an error's text names it
  virtual void OutputSize(int64_t height, int64_t width, int64_t out[3]) const;
  virtual void RunImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const float *x,
                        const float *residual, float *y) const;
  virtual void RunCutImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const float *x,
                           int64_t x_parts, float *y, int64_t *y_parts) const;
  virtual void RunTokens(const fw_pool *pool, int64_t tokens, const float *x, const float *residual, float *y) const;
  virtual void RunQImage(const fw_pool *pool, int64_t batch, int64_t height, int64_t width, const uint8_t *x,
                         const uint8_t *residual, uint8_t *y) const;
};

#endif
