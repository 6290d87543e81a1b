/* flyweight's sparse kernels: the C interface, the only way in for Python, torch and ONNX Runtime.
 *
 * A *layer* is made once from a description: its numbers are checked, copied and packed, so the caller may free them.
 * It is run any number of times, from any number of threads at once, on any batch and size of image. What depends on
 * the size (offsets, the choice of tiles) is made at the first run of that size and kept.
 *
 * Tensors are dense, row-major, without gaps: images (batch, channels, height, width), tokens (tokens, features).
 * Integer images are in the layout "c4", (batch, ceil(channels / 4), height, width, 4): channel c lies at [c / 4] and
 * [c % 4]; channels beyond the last hold anything, and are never taken into a result that counts.
 *
 * A function returns 0, or another number, and then fw_error() of the same thread says what, where and the way out.
 * No exception leaves the library; a pointer that it gives is freed by fw_layer_free alone.
 */
#ifndef FLYWEIGHT_KERNELS_H
#define FLYWEIGHT_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FW_EXPORT __attribute__((visibility("default")))

/* Raised when a description or a function changes so that an older caller would misread it. */
#define FW_ABI 2

typedef struct fw_layer fw_layer;

typedef enum fw_activation {
  FW_NONE = 0,
  FW_RELU = 1,
  FW_RELU6 = 2,
  FW_HARDSWISH = 3, /* x * relu6(x + 3) / 6 */
  FW_GELU = 4       /* x * (1 + erf(x / sqrt 2)) / 2 */
} fw_activation;

/* Who carries the work out. `run` calls task(argument, i) for each i in [0, tasks), perhaps at once, and returns when
 * all are done. NULL instead of a pool is the library's own, of fw_threads() threads. */
typedef struct fw_pool {
  int32_t threads;
  void *context;
  void (*run)(void *context, int64_t tasks, void (*task)(void *argument, int64_t index), void *argument);
} fw_pool;

/* Weights as a matrix of `rows` outputs and `taps * inputs` columns: one tap (place of the kernel, row after row) after
 * the other, and within a tap one input channel after the other; a linear has one tap. It is cut into tiles of
 * block_rows x block_columns; a tile never reaches over the end of a tap, so the grid is ceil(rows / block_rows) by
 * taps * ceil(inputs / block_columns). `keep` has one bit a tile, a row of tiles after another, the highest bit of a
 * byte first, the bits after the last zero; NULL keeps all. `values` are the kept tiles in that order, each
 * (block_rows, block_columns) row-major, with zeros where a tile reaches over the edge. */
typedef struct fw_matrix {
  int64_t rows, inputs, taps;
  int32_t block_rows, block_columns;
  const void *values; /* float, or int8_t in the integer layers */
  int64_t value_count;
  const uint8_t *keep;
  int64_t keep_bytes;
} fw_matrix;

typedef struct fw_window {
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int32_t pad_top, pad_left, pad_bottom, pad_right;
} fw_window;

/* y = activation(W * x + bias + residual); bias (rows) may be NULL, and so may the residual of a call. float32. */
typedef struct fw_conv_spec {
  fw_matrix weight; /* block_columns == 1, block_rows in {1, 2, 4, 8, 16} */
  fw_window window; /* taps == kernel_h * kernel_w */
  const float *bias;
  int32_t activation;
} fw_conv_spec;

typedef struct fw_linear_spec {
  fw_matrix weight; /* taps == 1 */
  const float *bias;
  int32_t activation;
} fw_linear_spec;

typedef struct fw_depthwise_spec {
  int64_t channels;
  fw_window window;
  const float *weight; /* (channels, kernel_h, kernel_w), dense */
  const float *bias;   /* (channels) or NULL */
  int32_t activation;
} fw_depthwise_spec;

/* expand (1x1, may be NULL) -> depthwise -> project (1x1), + x if `residual`; what lies between never leaves the cache. */
typedef struct fw_block_spec {
  const fw_conv_spec *expand;
  const fw_depthwise_spec *depthwise;
  const fw_conv_spec *project;
  int32_t residual;
} fw_block_spec;

/* y = clamp(round_half_to_even(shift + a * (a_scale / y_scale) + b * (b_scale / y_scale)), y_low, y_high) with shift =
 * y_zero - (a_zero * (a_scale / y_scale) + b_zero * (b_scale / y_scale)), in float32 in this order, as ONNX Runtime's
 * QLinearAdd computes it. */
typedef struct fw_qadd_spec {
  float a_scale, b_scale, y_scale;
  uint8_t a_zero, b_zero, y_zero, y_low, y_high;
} fw_qadd_spec;

/* Integers: acc = sum (x - x_zero) * w + bias, exact in int32; y = clamp(round_half_to_even(acc * scale[row]) + y_zero,
 * y_low, y_high), acc * scale in float32, as ONNX Runtime's QLinearConv computes it. Weights are symmetric. */
typedef struct fw_qconv_spec {
  fw_matrix weight; /* int8_t, tiles of 4x4 */
  fw_window window;
  const int32_t *bias; /* (rows) or NULL */
  const float *scale;  /* (rows): scale_x * scale_w[row] / scale_y */
  uint8_t x_zero, y_zero, y_low, y_high;
  /* NULL, or the sum of that y and of the residual that a call brings, an image like y: y is its a and the residual
   * its b, or with sum_second the other way round. */
  const fw_qadd_spec *sum;
  int32_t sum_second;
} fw_qconv_spec;

typedef struct fw_qdepthwise_spec {
  int64_t channels;
  fw_window window;
  const int8_t *weight; /* (channels, kernel_h, kernel_w) */
  const int32_t *bias;
  const float *scale;
  uint8_t x_zero, y_zero, y_low, y_high;
} fw_qdepthwise_spec;

/* The largest of each window, of which the border is no part. */
typedef struct fw_qmaxpool_spec {
  int64_t channels;
  fw_window window;
} fw_qmaxpool_spec;

/* y = round_half_to_even(clamp(sum (x - x_zero) * scale, -y_zero, 255 - y_zero)) + y_zero over each channel's pixels,
 * with scale = x_scale / (y_scale * pixels), in float32, as ONNX Runtime's QLinearGlobalAveragePool computes it. */
typedef struct fw_qmean_spec {
  int64_t channels;
  float x_scale, y_scale;
  uint8_t x_zero, y_zero;
} fw_qmean_spec;

/* y = softmax(scale * q k^T + mask) v for each text and head, float32. q is (batch, queries, heads * size), k and v are
 * (batch, keys, heads * size), `q_token` and so on floats from a token to the next, so that they may be parts of one
 * tensor; y is without gaps. The mask has `keys` numbers in a row; mask_batch, mask_head and mask_query floats lie from
 * one text, head or query to the next, 0 where they share it. */
typedef struct fw_attention_spec {
  int64_t batch, queries, keys, heads, size;
  int64_t q_token, k_token, v_token;
  int64_t mask_batch, mask_head, mask_query;
  float scale;
} fw_attention_spec;

FW_EXPORT int fw_abi(void);
FW_EXPORT const char *fw_error(void);
/* "avx512", "avx2" or "portable": the best that this processor has, or what FLYWEIGHT_KERNELS asks for. */
FW_EXPORT const char *fw_path(void);
/* Whether the path has one-instruction products of bytes (VNNI). */
FW_EXPORT int fw_has_vnni(void);
FW_EXPORT int fw_threads(void);
FW_EXPORT int fw_set_threads(int threads);

FW_EXPORT int fw_conv_create(const fw_conv_spec *spec, fw_layer **out);
FW_EXPORT int fw_linear_create(const fw_linear_spec *spec, fw_layer **out);
FW_EXPORT int fw_depthwise_create(const fw_depthwise_spec *spec, fw_layer **out);
FW_EXPORT int fw_block_create(const fw_block_spec *spec, fw_layer **out);
FW_EXPORT int fw_qconv_create(const fw_qconv_spec *spec, fw_layer **out);
FW_EXPORT int fw_qdepthwise_create(const fw_qdepthwise_spec *spec, fw_layer **out);
FW_EXPORT int fw_qmaxpool_create(const fw_qmaxpool_spec *spec, fw_layer **out);
FW_EXPORT int fw_qmean_create(const fw_qmean_spec *spec, fw_layer **out);
/* Three integer layers as one: expand (a 1x1 convolution, or NULL) -> depthwise -> project (a 1x1 convolution, perhaps
 * with a sum), to the last bit. They have to live as long as it does, and may be run besides. */
FW_EXPORT int fw_qblock_create(const fw_layer *expand, const fw_layer *depthwise, const fw_layer *project,
                               fw_layer **out);
FW_EXPORT void fw_layer_free(fw_layer *layer);

/* Rows, height and width of what a layer makes of an image of (height, width); an error where it would be empty. */
FW_EXPORT int fw_output_size(const fw_layer *layer, int64_t height, int64_t width, int64_t out[3]);

/* Of convolutions, depthwise layers and blocks; `residual` only where the layer takes one (a convolution). */
FW_EXPORT int fw_image_run(const fw_layer *layer, const fw_pool *pool, int64_t batch, int64_t height, int64_t width,
                           const float *x, const float *residual, float *y);
/* Of blocks. An image of `height` rows may lie in n parts, part i all channels of rows [height * i / n, height * (i + 1)
 * / n), one part after the other: then what one thread makes lies together, and processors that fetch ahead fetch
 * nothing that is another's. x lies in x_parts; *y_parts says whether y may (not 0), and is told how many it does. */
FW_EXPORT int fw_block_run(const fw_layer *layer, const fw_pool *pool, int64_t batch, int64_t height, int64_t width,
                           const float *x, int64_t x_parts, float *y, int64_t *y_parts);
FW_EXPORT int fw_linear_run(const fw_layer *layer, const fw_pool *pool, int64_t tokens, const float *x,
                            const float *residual, float *y);
/* Of the integer layers, c4 to c4; `residual` for a convolution that was made with a sum, and NULL for the others. */
FW_EXPORT int fw_qimage_run(const fw_layer *layer, const fw_pool *pool, int64_t batch, int64_t height, int64_t width,
                            const uint8_t *x, const uint8_t *residual, uint8_t *y);
/* Of any layout, for each byte stands alone; y may be a or b. */
FW_EXPORT int fw_qadd_run(const fw_pool *pool, const fw_qadd_spec *spec, int64_t count, const uint8_t *a,
                          const uint8_t *b, uint8_t *y);
/* (batch, channels, height, width) to c4 and back. */
FW_EXPORT int fw_pack4(const fw_pool *pool, int64_t batch, int64_t channels, int64_t plane, const uint8_t *x, uint8_t *y);
/* Floats to c4 at once: round_half_to_even(min(max(x / scale, -zero), 255 - zero)) + zero, as ONNX Runtime's
 * QuantizeLinear computes it. */
FW_EXPORT int fw_quantize4(const fw_pool *pool, int64_t batch, int64_t channels, int64_t plane, const float *x,
                           float scale, uint8_t zero, uint8_t *y);
FW_EXPORT int fw_unpack4(const fw_pool *pool, int64_t batch, int64_t channels, int64_t plane, const uint8_t *x,
                         uint8_t *y);

/* `mask` may be NULL. */
FW_EXPORT int fw_attention_run(const fw_pool *pool, const fw_attention_spec *spec, const float *q, const float *k,
                               const float *v, const float *mask, float *y);
/* y = (x - mean) / sqrt(variance + epsilon) * gain + bias over each of `rows` rows of `size` numbers; `bias` may be NULL,
 * y may be x. */
FW_EXPORT int fw_layer_norm_run(const fw_pool *pool, int64_t rows, int64_t size, float epsilon, const float *gain,
                                const float *bias, const float *x, float *y);
/* The same of tensors whose features lie before their tokens, as the channels of an image of one row do: q and y are
 * (batch, heads * size, queries), k and v (batch, heads * size, keys), x (batch, size, tokens), without gaps; what the
 * description says of q_token, k_token and v_token is not read, and y may not be x. */
FW_EXPORT int fw_attention_turned_run(const fw_pool *pool, const fw_attention_spec *spec, const float *q,
                                      const float *k, const float *v, const float *mask, float *y);
FW_EXPORT int fw_layer_norm_turned_run(const fw_pool *pool, int64_t batch, int64_t size, int64_t tokens, float epsilon,
                                       const float *gain, const float *bias, const float *x, float *y);

/* Tiles. Which are the fastest is measured at the first run of a size and kept for the process, and, where a file is
 * named (FLYWEIGHT_TILES, or fw_tiles_file), for the next one; FLYWEIGHT_TUNE=0 takes the default without measuring.
 * The result of a layer is bitwise the same with all of them. */
FW_EXPORT int fw_tiles_file(const char *path);

/* What this machine could do at most, on one thread and the path in use: multiply-adds in registers (GFLOP/s, two a
 * multiply-add; int8: GOP/s), and reading `bytes` over and over (GB/s). */
FW_EXPORT double fw_peak_gflops(void);
FW_EXPORT double fw_peak_int8_gops(void);
FW_EXPORT double fw_read_gbytes(int64_t bytes);

#ifdef __cplusplus
}
#endif
#endif
