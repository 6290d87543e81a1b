#include "core/layer.h"

#include "core/error.h"

using flyweight::Fail;
using flyweight::Guard;

void fw_layer::OutputSize(int64_t, int64_t, int64_t *) const {
  Fail("a %s has no image to give the size of. Ask a convolution, a depthwise layer or a block.", kind());
}
void fw_layer::RunImage(const fw_pool *, int64_t, int64_t, int64_t, const float *, const float *, float *) const {
  Fail("a %s doesn't run on float images. Make a convolution, a depthwise layer or a block.", kind());
}
void fw_layer::RunCutImage(const fw_pool *, int64_t, int64_t, int64_t, const float *, int64_t, float *,
                           int64_t *) const {
  Fail("a %s doesn't run on images in parts. Make a block, or give it whole images.", kind());
}
void fw_layer::RunTokens(const fw_pool *, int64_t, const float *, const float *, float *) const {
  Fail("a %s doesn't run on tokens. Make a linear with fw_linear_create.", kind());
}
void fw_layer::RunQImage(const fw_pool *, int64_t, int64_t, int64_t, const uint8_t *, const uint8_t *,
                          uint8_t *) const {
  Fail("a %s doesn't run on integer images. Make it with fw_qconv_create or fw_qdepthwise_create.", kind());
}

namespace {

const fw_layer &Checked(const fw_layer *layer) {
  if (layer == nullptr) Fail("got no layer (NULL). Make one with fw_conv_create or its siblings.");
  return *layer;
}

void CheckPool(const fw_pool *pool) {
  if (pool != nullptr && (pool->threads < 1 || pool->run == nullptr))
    Fail("got a pool of %d threads%s. Give at least one thread and a run function, or NULL for the library's own.",
         pool->threads, pool->run == nullptr ? " without a run function" : "");
}

void CheckImage(int64_t batch, int64_t height, int64_t width, const void *x, const void *y) {
  if (batch < 0 || height < 1 || width < 1)
    Fail("got a batch of %lld images of %lld x %lld. Give sizes of 1 or more.", static_cast<long long>(batch),
         static_cast<long long>(height), static_cast<long long>(width));
  if (batch > 0 && (x == nullptr || y == nullptr)) Fail("got NULL for %s.", x == nullptr ? "x" : "y");
}

}  // namespace

extern "C" {

void fw_layer_free(fw_layer *layer) { delete layer; }

int fw_output_size(const fw_layer *layer, int64_t height, int64_t width, int64_t out[3]) {
  return Guard("fw_output_size", [&] {
    if (out == nullptr) Fail("got NULL for out. Give room for three numbers.");
    if (height < 1 || width < 1)
      Fail("got an image of %lld x %lld. Give sizes of 1 or more.", static_cast<long long>(height),
           static_cast<long long>(width));
    Checked(layer).OutputSize(height, width, out);
  });
}

int fw_image_run(const fw_layer *layer, const fw_pool *pool, int64_t batch, int64_t height, int64_t width,
                 const float *x, const float *residual, float *y) {
  return Guard("fw_image_run", [&] {
    const fw_layer &checked = Checked(layer);
    CheckPool(pool);
    CheckImage(batch, height, width, x, y);
    if (batch > 0) checked.RunImage(pool, batch, height, width, x, residual, y);
  });
}

int fw_block_run(const fw_layer *layer, const fw_pool *pool, int64_t batch, int64_t height, int64_t width,
                 const float *x, int64_t x_parts, float *y, int64_t *y_parts) {
  return Guard("fw_block_run", [&] {
    const fw_layer &checked = Checked(layer);
    CheckPool(pool);
    CheckImage(batch, height, width, x, y);
    if (y_parts == nullptr) Fail("y_parts is NULL. Say whether y may lie in parts.");
    if (batch > 0) checked.RunCutImage(pool, batch, height, width, x, x_parts, y, y_parts);
  });
}

int fw_linear_run(const fw_layer *layer, const fw_pool *pool, int64_t tokens, const float *x, const float *residual,
                  float *y) {
  return Guard("fw_linear_run", [&] {
    const fw_layer &checked = Checked(layer);
    CheckPool(pool);
    if (tokens < 0) Fail("got %lld tokens. Give 0 or more.", static_cast<long long>(tokens));
    if (tokens > 0 && (x == nullptr || y == nullptr)) Fail("got NULL for %s.", x == nullptr ? "x" : "y");
    if (tokens > 0) checked.RunTokens(pool, tokens, x, residual, y);
  });
}

int fw_qimage_run(const fw_layer *layer, const fw_pool *pool, int64_t batch, int64_t height, int64_t width,
                  const uint8_t *x, const uint8_t *residual, uint8_t *y) {
  return Guard("fw_qimage_run", [&] {
    const fw_layer &checked = Checked(layer);
    CheckPool(pool);
    CheckImage(batch, height, width, x, y);
    if (batch > 0) checked.RunQImage(pool, batch, height, width, x, residual, y);
  });
}
}
