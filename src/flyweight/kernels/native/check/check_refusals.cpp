// Descriptions and calls that contradict themselves: each has to be refused, with words, before anything is read by it.
#include <climits>
#include <functional>
#include <initializer_list>
#include <limits>

#include "layers.h"

namespace check {
namespace {

int failures = 0, refusals = 0;

void Refused(const char *what, int status) {
  const char *said = fw_error();
  if (status != 0 && said != nullptr && std::strlen(said) > 10) {
    ++refusals;
    return;
  }
  ++failures;
  std::printf("%s: %s\n", what, status == 0 ? "was taken" : "was refused without words");
}

// Makes a layer, which has to be refused.
template <class Spec>
void Refuse(const char *what, int (*create)(const Spec *, fw_layer **), const Spec &spec) {
  Layer layer;
  Refused(what, create(&spec, &layer.made));
  if (layer.made != nullptr) {
    ++failures;
    std::printf("%s: gave a layer that it refused\n", what);
  }
}

// A layer as it should be, from which each case departs in one place.
struct Sound {
  Random random{7};
  Weights<float> conv{random, 6, 5, 4, 4, 1, 50}, linear{random, 6, 5, 1, 4, 1, 50}, point{random, 6, 5, 1, 4, 1, 50},
      back{random, 5, 6, 1, 4, 1, 50};
  Weights<int8_t> qconv{random, 6, 5, 4, 4, 4, 50};
  Buffer<float> bias{8}, weight{24}, scale{8};
  Buffer<int8_t> bytes{24};
  Buffer<int32_t> qbias{8};
  fw_window window{2, 2, 1, 1, 1, 1, 1, 1, 1, 1};
  fw_conv_spec conv_spec, expand, project;
  fw_linear_spec linear_spec;
  fw_depthwise_spec depthwise_spec;
  fw_qconv_spec qconv_spec;
  fw_qdepthwise_spec qdepthwise_spec;
  fw_qmaxpool_spec qmaxpool_spec;
  fw_block_spec block_spec;

  Sound() {
    bias.Fill(random);
    weight.Fill(random);
    bytes.Fill(random);
    qbias.Fill(random);
    for (int64_t i = 0; i < scale.count(); ++i) scale[i] = 1e-3f;
    conv_spec = {conv.matrix, window, bias.get(), FW_RELU};
    expand = {point.matrix, kPoint, bias.get(), FW_RELU};
    project = {back.matrix, kPoint, bias.get(), FW_NONE};
    linear_spec = {linear.matrix, bias.get(), FW_GELU};
    depthwise_spec = {6, {2, 2, 1, 1, 1, 1, 1, 1, 0, 0}, weight.get(), bias.get(), FW_RELU6};
    qconv_spec = {qconv.matrix, window, qbias.get(), scale.get(), 3, 4, 0, 255, nullptr, 0};
    qdepthwise_spec = {6, window, bytes.get(), qbias.get(), scale.get(), 3, 4, 0, 255};
    qmaxpool_spec = {6, window};
    block_spec = {&expand, &depthwise_spec, &project, 1};
  }
};

constexpr int64_t kHuge[] = {0, -1, INT64_MIN, INT64_MAX, int64_t{1} << 40, int64_t{1} << 62};
constexpr int64_t kMore[] = {1, -1, 4, -4, INT64_MAX / 2, INT64_MIN / 2};

// What can be wrong with a weight. `as` makes the layer of it.
void Matrices(const char *what, const fw_matrix &sound, bool integers, const std::function<void(const fw_matrix &)> &as) {
  std::printf("%s\n", what);
  const auto with = [&](auto change) {
    fw_matrix matrix = sound;
    change(matrix);
    as(matrix);
  };
  for (const int64_t size : kHuge) {
    with([&](fw_matrix &m) { m.rows = size; });
    with([&](fw_matrix &m) { m.inputs = size; });
    with([&](fw_matrix &m) { m.taps = size; });
    with([&](fw_matrix &m) { m.rows = m.inputs = size, m.keep = nullptr, m.keep_bytes = 0; });
    with([&](fw_matrix &m) { m.rows = m.inputs = m.taps = size, m.keep = nullptr, m.keep_bytes = 0, m.value_count = 0; });
  }
  with([](fw_matrix &m) { m.rows = m.inputs = INT32_MAX, m.keep = nullptr, m.keep_bytes = 0; });
  with([](fw_matrix &m) { m.rows = m.inputs = m.taps = INT32_MAX, m.keep_bytes = INT64_MAX; });
  with([](fw_matrix &m) { m.taps += 1; });
  with([](fw_matrix &m) { m.rows += 400; });
  with([](fw_matrix &m) { m.inputs += 400; });
  for (const int32_t side : {0, -1, -4, 3, 5, 32, INT32_MIN, INT32_MAX, 1 << 30}) {
    with([&](fw_matrix &m) { m.block_rows = side; });
    with([&](fw_matrix &m) { m.block_columns = side; });
  }
  if (!integers) with([](fw_matrix &m) { m.block_columns = 4; });
  if (integers) with([](fw_matrix &m) { m.block_columns = 1; });
  for (const int64_t more : kMore) {
    with([&](fw_matrix &m) { m.value_count += more; });
    with([&](fw_matrix &m) { m.keep_bytes += more; });
  }
  with([](fw_matrix &m) { m.keep_bytes = 0; });
  with([](fw_matrix &m) { m.keep = nullptr; });
  with([](fw_matrix &m) { m.keep = nullptr, m.keep_bytes = 0; });
  with([](fw_matrix &m) { m.values = nullptr; });
  // Other bits than values: one more, one less, and behind the last tile.
  Buffer<uint8_t> keep(sound.keep_bytes);
  const auto bits = [&](int64_t byte, int flip) {
    std::memcpy(keep.get(), sound.keep, static_cast<size_t>(sound.keep_bytes));
    keep[byte] = static_cast<uint8_t>(keep[byte] ^ flip);
    with([&](fw_matrix &m) { m.keep = keep.get(); });
  };
  for (int bit = 0; bit < 8; ++bit) bits(0, 1 << bit);
  const int64_t tiles = (sound.rows + sound.block_rows - 1) / sound.block_rows * sound.taps *
                        ((sound.inputs + sound.block_columns - 1) / sound.block_columns);
  if (tiles % 8 != 0) {
    bits(sound.keep_bytes - 1, 1);
    // The right number of bits, but one of them stands where no tile is.
    std::memcpy(keep.get(), sound.keep, static_cast<size_t>(sound.keep_bytes));
    for (int64_t tile = 0; tile < tiles; ++tile)
      if ((keep[tile / 8] >> (7 - tile % 8) & 1) != 0) {
        keep[tile / 8] = static_cast<uint8_t>(keep[tile / 8] & ~(128 >> tile % 8));
        break;
      }
    keep[sound.keep_bytes - 1] = static_cast<uint8_t>(keep[sound.keep_bytes - 1] | 1);
    with([&](fw_matrix &m) { m.keep = keep.get(); });
  }
}

void Windows(const char *what, const fw_window &sound, const std::function<void(const fw_window &)> &as) {
  std::printf("%s\n", what);
  int32_t fw_window::*const least_one[] = {&fw_window::kernel_h,   &fw_window::kernel_w,   &fw_window::stride_h,
                                           &fw_window::stride_w,   &fw_window::dilation_h, &fw_window::dilation_w};
  int32_t fw_window::*const pads[] = {&fw_window::pad_top, &fw_window::pad_left, &fw_window::pad_bottom,
                                      &fw_window::pad_right};
  const auto with = [&](int32_t fw_window::*field, int32_t value) {
    fw_window window = sound;
    window.*field = value;
    as(window);
  };
  for (const auto field : least_one)
    for (const int32_t value : {0, -1, INT32_MIN, INT32_MAX}) with(field, value);
  for (const auto field : pads)
    for (const int32_t value : {-1, INT32_MIN, INT32_MAX}) with(field, value);
  with(&fw_window::kernel_h, INT32_MAX);
}

void Create() {
  const Sound sound;
  Matrices("weights of a convolution", sound.conv_spec.weight, false, [&](const fw_matrix &matrix) {
    fw_conv_spec spec = sound.conv_spec;
    spec.weight = matrix;
    Refuse("weight of a convolution", fw_conv_create, spec);
  });
  Matrices("weights of a linear", sound.linear_spec.weight, false, [&](const fw_matrix &matrix) {
    fw_linear_spec spec = sound.linear_spec;
    spec.weight = matrix;
    Refuse("weight of a linear", fw_linear_create, spec);
  });
  Matrices("weights of an integer convolution", sound.qconv_spec.weight, true, [&](const fw_matrix &matrix) {
    fw_qconv_spec spec = sound.qconv_spec;
    spec.weight = matrix;
    Refuse("weight of an integer convolution", fw_qconv_create, spec);
  });
  Matrices("weights of a block", sound.expand.weight, false, [&](const fw_matrix &matrix) {
    fw_conv_spec expand = sound.expand;
    expand.weight = matrix;
    fw_block_spec spec = sound.block_spec;
    spec.expand = &expand;
    Refuse("expansion of a block", fw_block_create, spec);
  });
  Windows("windows of a convolution", sound.window, [&](const fw_window &window) {
    fw_conv_spec spec = sound.conv_spec;
    spec.window = window;
    Refuse("window of a convolution", fw_conv_create, spec);
  });
  Windows("windows of an integer convolution", sound.window, [&](const fw_window &window) {
    fw_qconv_spec spec = sound.qconv_spec;
    spec.window = window;
    Refuse("window of an integer convolution", fw_qconv_create, spec);
  });
  Windows("windows of the rest", sound.window, [&](const fw_window &window) {
    fw_depthwise_spec depthwise = sound.depthwise_spec;
    depthwise.window = window;
    Refuse("window of a depthwise", fw_depthwise_create, depthwise);
    fw_qdepthwise_spec qdepthwise = sound.qdepthwise_spec;
    qdepthwise.window = window;
    Refuse("window of an integer depthwise", fw_qdepthwise_create, qdepthwise);
    fw_qmaxpool_spec pool = sound.qmaxpool_spec;
    pool.window = window;
    Refuse("window of a pool", fw_qmaxpool_create, pool);
    fw_block_spec block = sound.block_spec;
    block.depthwise = &depthwise;
    Refuse("window of a block", fw_block_create, block);
  });
}

template <class Spec, class Change>
void With(const char *what, int (*create)(const Spec *, fw_layer **), Spec spec, Change change) {
  change(spec);
  Refuse(what, create, spec);
}

void Fields() {
  std::printf("fields\n");
  const Sound sound;
  for (const int32_t activation : {-1, 5, INT32_MAX, INT32_MIN}) {
    With("activation", fw_conv_create, sound.conv_spec, [&](auto &s) { s.activation = activation; });
    With("activation", fw_linear_create, sound.linear_spec, [&](auto &s) { s.activation = activation; });
    With("activation", fw_depthwise_create, sound.depthwise_spec, [&](auto &s) { s.activation = activation; });
  }
  for (const int64_t size : kHuge) {
    With("channels", fw_depthwise_create, sound.depthwise_spec, [&](auto &s) { s.channels = size; });
    With("channels", fw_qdepthwise_create, sound.qdepthwise_spec, [&](auto &s) { s.channels = size; });
    With("channels", fw_qmaxpool_create, sound.qmaxpool_spec, [&](auto &s) { s.channels = size; });
  }
  With("no weight", fw_depthwise_create, sound.depthwise_spec, [](auto &s) { s.weight = nullptr; });
  With("no weight", fw_qdepthwise_create, sound.qdepthwise_spec, [](auto &s) { s.weight = nullptr; });
  With("no scale", fw_qdepthwise_create, sound.qdepthwise_spec, [](auto &s) { s.scale = nullptr; });
  With("no scale", fw_qconv_create, sound.qconv_spec, [](auto &s) { s.scale = nullptr; });
  With("low above high", fw_qconv_create, sound.qconv_spec, [](auto &s) { s.y_low = 9, s.y_high = 8; });
  With("low above high", fw_qdepthwise_create, sound.qdepthwise_spec, [](auto &s) { s.y_low = 9, s.y_high = 8; });

  With("no depthwise", fw_block_create, sound.block_spec, [](auto &s) { s.depthwise = nullptr; });
  With("no projection", fw_block_create, sound.block_spec, [](auto &s) { s.project = nullptr; });
  With("another expansion", fw_block_create, sound.block_spec, [&](auto &s) { s.expand = &sound.project; });
  With("another projection", fw_block_create, sound.block_spec, [&](auto &s) { s.project = &sound.expand; });
  With("a window in the expansion", fw_block_create, sound.block_spec, [&](auto &s) { s.expand = &sound.conv_spec; });
  fw_depthwise_spec fewer = sound.depthwise_spec;
  fewer.channels = 5;
  With("fewer channels", fw_block_create, sound.block_spec, [&](auto &s) { s.depthwise = &fewer; });
  fw_conv_spec strided = sound.project;
  strided.window.stride_h = 2;
  With("a stride in the projection", fw_block_create, sound.block_spec, [&](auto &s) { s.project = &strided; });

  Layer layer;
  Refused("no description", fw_conv_create(nullptr, &layer.made));
  Refused("no description", fw_linear_create(nullptr, &layer.made));
  Refused("no description", fw_depthwise_create(nullptr, &layer.made));
  Refused("no description", fw_block_create(nullptr, &layer.made));
  Refused("no description", fw_qconv_create(nullptr, &layer.made));
  Refused("no description", fw_qdepthwise_create(nullptr, &layer.made));
  Refused("no description", fw_qmaxpool_create(nullptr, &layer.made));
  Refused("nowhere to put it", fw_conv_create(&sound.conv_spec, nullptr));
  Refused("nowhere to put it", fw_linear_create(&sound.linear_spec, nullptr));
  Refused("nowhere to put it", fw_depthwise_create(&sound.depthwise_spec, nullptr));
  Refused("nowhere to put it", fw_block_create(&sound.block_spec, nullptr));
  for (const float scale : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN()}) {
    const fw_qmean_spec mean = {4, 0.1f, scale, 0, 0};
    Refused("scale of a mean", fw_qmean_create(&mean, &layer.made));
  }
  Refused("layers of a block", fw_qblock_create(nullptr, nullptr, nullptr, &layer.made));
  Refused("nowhere to put it", fw_qconv_create(&sound.qconv_spec, nullptr));
  Refused("nowhere to put it", fw_qdepthwise_create(&sound.qdepthwise_spec, nullptr));
  Refused("nowhere to put it", fw_qmaxpool_create(&sound.qmaxpool_spec, nullptr));
  fw_layer_free(nullptr);
}

// Calls of a sound layer that cannot be carried out.
void Calls() {
  std::printf("calls\n");
  const Sound sound;
  Layer conv, linear, depthwise, block, qconv;
  if (fw_conv_create(&sound.conv_spec, &conv.made) != 0 || fw_linear_create(&sound.linear_spec, &linear.made) != 0 ||
      fw_depthwise_create(&sound.depthwise_spec, &depthwise.made) != 0 ||
      fw_block_create(&sound.block_spec, &block.made) != 0 || fw_qconv_create(&sound.qconv_spec, &qconv.made) != 0) {
    ++failures;
    std::printf("a sound layer was refused: %s\n", fw_error());
    return;
  }
  float x[64] = {}, y[64];
  uint8_t a[64] = {}, b[64];
  int64_t out[3];
  for (const auto *layer : {conv.made, depthwise.made, block.made}) {
    for (const int64_t size : {int64_t{0}, int64_t{-1}, INT64_MIN, INT64_MAX, int64_t{1} << 40}) {
      Refused("height", fw_image_run(layer, nullptr, 1, size, 1, x, nullptr, y));
      Refused("width", fw_image_run(layer, nullptr, 1, 1, size, x, nullptr, y));
      Refused("size", fw_output_size(layer, size, 1, out));
      Refused("size", fw_output_size(layer, 1, size, out));
    }
    Refused("batch", fw_image_run(layer, nullptr, -1, 1, 1, x, nullptr, y));
    Refused("batch", fw_image_run(layer, nullptr, INT64_MIN, 1, 1, x, nullptr, y));
    Refused("no x", fw_image_run(layer, nullptr, 1, 1, 1, nullptr, nullptr, y));
    Refused("no y", fw_image_run(layer, nullptr, 1, 1, 1, x, nullptr, nullptr));
    Refused("nowhere", fw_output_size(layer, 1, 1, nullptr));
    Refused("tokens", fw_linear_run(layer, nullptr, 1, x, nullptr, y));
    Refused("bytes", fw_qimage_run(layer, nullptr, 1, 1, 1, a, nullptr, b));
  }
  Refused("a residual", fw_image_run(depthwise.made, nullptr, 1, 1, 1, x, x, y));
  Refused("image", fw_image_run(linear.made, nullptr, 1, 1, 1, x, nullptr, y));
  Refused("image", fw_image_run(qconv.made, nullptr, 1, 1, 1, x, nullptr, y));
  Refused("size", fw_output_size(linear.made, 1, 1, out));
  Refused("tokens", fw_linear_run(linear.made, nullptr, -1, x, nullptr, y));
  Refused("tokens", fw_linear_run(linear.made, nullptr, INT64_MIN, x, nullptr, y));
  Refused("tokens", fw_linear_run(linear.made, nullptr, INT64_MAX, x, nullptr, y));
  Refused("no x", fw_linear_run(linear.made, nullptr, 1, nullptr, nullptr, y));
  Refused("no y", fw_linear_run(linear.made, nullptr, 1, x, nullptr, nullptr));
  for (const int64_t size : {int64_t{0}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
    Refused("height", fw_qimage_run(qconv.made, nullptr, 1, size, 1, a, nullptr, b));
    Refused("width", fw_qimage_run(qconv.made, nullptr, 1, 1, size, a, nullptr, b));
  }
  Refused("batch", fw_qimage_run(qconv.made, nullptr, -1, 1, 1, a, nullptr, b));
  Refused("no x", fw_qimage_run(qconv.made, nullptr, 1, 1, 1, nullptr, nullptr, b));
  Refused("no y", fw_qimage_run(qconv.made, nullptr, 1, 1, 1, a, nullptr, nullptr));
  Refused("no layer", fw_image_run(nullptr, nullptr, 1, 1, 1, x, nullptr, y));
  int64_t y_parts = 0;
  Refused("no layer", fw_block_run(nullptr, nullptr, 1, 1, 1, x, 1, y, &y_parts));
  Refused("no block", fw_block_run(conv.made, nullptr, 1, 1, 1, x, 1, y, &y_parts));
  Refused("batch", fw_block_run(block.made, nullptr, -1, 1, 1, x, 1, y, &y_parts));
  Refused("no x", fw_block_run(block.made, nullptr, 1, 1, 1, nullptr, 1, y, &y_parts));
  Refused("no layer", fw_linear_run(nullptr, nullptr, 1, x, nullptr, y));
  Refused("no layer", fw_qimage_run(nullptr, nullptr, 1, 1, 1, a, nullptr, b));
  Refused("no layer", fw_output_size(nullptr, 1, 1, out));
  const fw_pool no_run = {2, nullptr, nullptr}, none = {0, nullptr, Backwards}, less = {-3, nullptr, Backwards};
  for (const fw_pool *pool : {&no_run, &none, &less}) {
    Refused("pool", fw_image_run(conv.made, pool, 1, 1, 1, x, nullptr, y));
    Refused("pool", fw_linear_run(linear.made, pool, 1, x, nullptr, y));
    Refused("pool", fw_qimage_run(qconv.made, pool, 1, 1, 1, a, nullptr, b));
  }
  for (const int threads : {0, -1, INT_MIN, INT_MAX}) Refused("threads", fw_set_threads(threads));
}

void Rest() {
  std::printf("functions without a layer\n");
  uint8_t a[64] = {}, b[64];
  float f[64] = {};
  for (const float scale : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN()})
    Refused("scale", fw_quantize4(nullptr, 1, 4, 4, f, scale, 3, b));
  for (const int64_t size : {int64_t{-1}, INT64_MIN, INT64_MAX, INT64_MAX / 2}) {
    Refused("batch", fw_pack4(nullptr, size, 3, 4, a, b));
    Refused("channels", fw_pack4(nullptr, 3, size, 4, a, b));
    Refused("plane", fw_pack4(nullptr, 3, 4, size, a, b));
    Refused("batch", fw_quantize4(nullptr, size, 3, 4, f, 0.1f, 3, b));
    Refused("channels", fw_quantize4(nullptr, 3, size, 4, f, 0.1f, 3, b));
    Refused("plane", fw_quantize4(nullptr, 3, 4, size, f, 0.1f, 3, b));
    Refused("batch", fw_unpack4(nullptr, size, 3, 4, a, b));
    Refused("channels", fw_unpack4(nullptr, 3, size, 4, a, b));
    Refused("plane", fw_unpack4(nullptr, 3, 4, size, a, b));
  }
  Refused("no x", fw_pack4(nullptr, 1, 4, 4, nullptr, b));
  Refused("no y", fw_unpack4(nullptr, 1, 4, 4, a, nullptr));
  const fw_qadd_spec sum = {0.02f, 0.03f, 0.04f, 1, 2, 3, 0, 255};
  Refused("count", fw_qadd_run(nullptr, &sum, -1, a, a, b));
  Refused("no description", fw_qadd_run(nullptr, nullptr, 4, a, a, b));
  Refused("no a", fw_qadd_run(nullptr, &sum, 4, nullptr, a, b));
  Refused("no y", fw_qadd_run(nullptr, &sum, 4, a, a, nullptr));
  for (const float scale : {0.0f, std::numeric_limits<float>::quiet_NaN()}) {
    fw_qadd_spec spec = sum;
    spec.y_scale = scale;
    Refused("scale", fw_qadd_run(nullptr, &spec, 4, a, a, b));
  }

  float x[64] = {}, y[64];
  const fw_attention_spec sound = {1, 2, 2, 2, 3, 6, 6, 6, 0, 0, 0, 0.5f};
  const auto attend = [&](const char *what, auto change) {
    fw_attention_spec spec = sound;
    change(spec);
    Refused(what, fw_attention_run(nullptr, &spec, x, x, x, x, y));
  };
  int64_t fw_attention_spec::*const sizes[] = {&fw_attention_spec::batch,   &fw_attention_spec::queries,
                                               &fw_attention_spec::keys,    &fw_attention_spec::heads,
                                               &fw_attention_spec::size,    &fw_attention_spec::q_token,
                                               &fw_attention_spec::k_token, &fw_attention_spec::v_token};
  for (const auto field : sizes)
    for (const int64_t value : {int64_t{-1}, INT64_MIN, INT64_MAX}) attend("attention", [&](auto &s) { s.*field = value; });
  attend("mask", [](auto &s) { s.mask_batch = -1; });
  attend("mask", [](auto &s) { s.mask_head = INT64_MIN; });
  attend("mask", [](auto &s) { s.mask_query = -2; });
  Refused("no description", fw_attention_run(nullptr, nullptr, x, x, x, nullptr, y));
  Refused("no description", fw_attention_turned_run(nullptr, nullptr, x, x, x, nullptr, y));
  Refused("no v", fw_attention_turned_run(nullptr, &sound, x, x, nullptr, nullptr, y));
  Refused("no q", fw_attention_run(nullptr, &sound, nullptr, x, x, nullptr, y));
  Refused("no v", fw_attention_run(nullptr, &sound, x, x, nullptr, nullptr, y));
  Refused("no y", fw_attention_run(nullptr, &sound, x, x, x, nullptr, nullptr));
  for (const int64_t size : {int64_t{-1}, INT64_MIN, INT64_MAX}) {
    Refused("rows", fw_layer_norm_run(nullptr, size, 8, 1e-5f, x, x, x, y));
    Refused("size", fw_layer_norm_run(nullptr, 8, size, 1e-5f, x, x, x, y));
    Refused("size", fw_layer_norm_turned_run(nullptr, 1, size, 8, 1e-5f, x, x, x, y));
    Refused("tokens", fw_layer_norm_turned_run(nullptr, 1, 8, size, 1e-5f, x, x, x, y));
  }
  Refused("size", fw_layer_norm_run(nullptr, 8, 0, 1e-5f, x, x, x, y));
  Refused("no gain", fw_layer_norm_run(nullptr, 2, 8, 1e-5f, nullptr, x, x, y));
  Refused("no x", fw_layer_norm_run(nullptr, 2, 8, 1e-5f, x, x, nullptr, y));
  Refused("no y", fw_layer_norm_run(nullptr, 2, 8, 1e-5f, x, x, x, nullptr));
  if (fw_read_gbytes(-1) != -1 || fw_read_gbytes(INT64_MAX) != -1) {
    ++failures;
    std::printf("reading a size that cannot be was not refused\n");
  }
}

int Main() {
  Create();
  Fields();
  Calls();
  Rest();
  std::printf("%d refused, %d failures\n", refusals, failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace check

int main() { return check::Main(); }
