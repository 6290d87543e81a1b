// Runs every kind of layer over odd sizes: in each place of memory, on the library's own threads and on a caller's, into
// results that were dirty in another way. A result that hangs on any of this is an error, as an access out of bounds is.
//   check_sizes SEED CASES
#include <functional>

#include "layers.h"

namespace check {
namespace {

int failures = 0;

void Fail(const char *what, uint64_t seed, const char *why) {
  if (++failures <= 20) std::printf("%s, case %llu: %s\n", what, static_cast<unsigned long long>(seed), why);
}

struct Way {
  Place place;
  const fw_pool *pool;
  int dirt;
};
constexpr Way kWays[] = {{Place::kHeap, nullptr, 0x7f}, {Place::kBefore, &kBackwards, 0xff}, {Place::kAfter, nullptr, 0}};

// Runs in each way; results have to be the same bits where `counts` says so.
template <class T>
void Compare(const char *what, uint64_t seed, int64_t size, const std::function<int(const Way &, T *)> &run,
             const std::function<bool(int64_t)> &counts) {
  std::unique_ptr<Buffer<T>> first;
  for (const Way &way : kWays) {
    auto y = std::make_unique<Buffer<T>>(size, way.place);
    y->Dirty(way.dirt);
    if (run(way, y->get()) != 0) return Fail(what, seed, fw_error());
    if (first == nullptr) {
      first = std::move(y);
      continue;
    }
    for (int64_t i = 0; i < size; ++i)
      if (counts(i) && std::memcmp(&(*first)[i], &(*y)[i], sizeof(T)) != 0)
        return Fail(what, seed, "the result hangs on where it lies, on what lay there, or on the threads");
  }
}

bool All(int64_t) { return true; }

template <class T>
std::unique_ptr<Buffer<T>> Moved(const Buffer<T> *from, Place place) {
  if (from == nullptr) return nullptr;
  auto moved = std::make_unique<Buffer<T>>(from->count(), place);
  moved->Copy(*from);
  return moved;
}

struct Image {
  int64_t batch, height, width;
};

Image AnyImage(Random &random) {
  return {random.From(1, 3), random.From(1, 17), random.Chance(80) ? random.From(1, 37) : random.From(38, 140)};
}

// The size that a layer gives of an image; false where it would be empty.
bool Size(const Layer &layer, const Image &image, int64_t out[3]) {
  return fw_output_size(layer.made, image.height, image.width, out) == 0;
}

void RunImage(const char *what, uint64_t seed, Random &random, const Layer &layer, int64_t inputs, bool residual) {
  for (int turn = 0; turn < 2; ++turn) {  // one layer, two sizes
    const Image image = AnyImage(random);
    int64_t out[3];
    if (!Size(layer, image, out)) continue;
    const int64_t size = image.batch * out[0] * out[1] * out[2];
    Buffer<float> x(image.batch * inputs * image.height * image.width);
    x.Fill(random);
    const auto more = Perhaps<float>(random, size, residual ? 50 : 0);
    Compare<float>(what, seed, size, [&](const Way &way, float *y) {
      const auto x_there = Moved(&x, way.place), more_there = Moved(more.get(), way.place);
      return fw_image_run(layer.made, way.pool, image.batch, image.height, image.width, x_there->get(),
                          Pointer(more_there), y);
    }, All);
  }
}

struct ConvParts {
  ConvParts(Random &random, int64_t rows, int64_t inputs, fw_window window)
      : weights(random, rows, inputs, window.kernel_h * window.kernel_w, AnyBlock(random), 1, AnyDensity(random)),
        bias(Perhaps<float>(random, rows, 70)),
        spec{weights.matrix, window, Pointer(bias), static_cast<int32_t>(random.From(FW_NONE, FW_GELU))} {}
  Weights<float> weights;
  std::unique_ptr<Buffer<float>> bias;
  fw_conv_spec spec;
};

struct DepthwiseParts {
  DepthwiseParts(Random &random, int64_t channels)
      : window(AnyWindow(random, 5)),
        weight(channels * window.kernel_h * window.kernel_w),
        bias(Perhaps<float>(random, channels, 70)) {
    weight.Fill(random);
    spec = {channels, window, weight.get(), Pointer(bias), static_cast<int32_t>(random.From(FW_NONE, FW_GELU))};
  }
  fw_window window;
  Buffer<float> weight;
  std::unique_ptr<Buffer<float>> bias;
  fw_depthwise_spec spec;
};

void Conv(uint64_t seed) {
  Random random(seed);
  const int64_t inputs = random.From(1, 24), rows = random.From(1, 40);
  Layer layer;
  {
    const ConvParts parts(random, rows, inputs, random.Chance(40) ? kPoint : AnyWindow(random, 5));
    if (fw_conv_create(&parts.spec, &layer.made) != 0) return Fail("convolution", seed, fw_error());
  }  // what it was made of is gone
  RunImage("convolution", seed, random, layer, inputs, true);
}

void Linear(uint64_t seed) {
  Random random(seed);
  const int64_t inputs = random.From(1, 70), rows = random.From(1, 70);
  Layer layer;
  {
    const Weights<float> weights(random, rows, inputs, 1, AnyBlock(random), 1, AnyDensity(random));
    const auto bias = Perhaps<float>(random, rows, 70);
    const fw_linear_spec spec = {weights.matrix, Pointer(bias), static_cast<int32_t>(random.From(FW_NONE, FW_GELU))};
    if (fw_linear_create(&spec, &layer.made) != 0) return Fail("linear", seed, fw_error());
  }
  for (const int64_t tokens : {int64_t{1}, random.From(2, 20), random.From(21, 150)}) {
    Buffer<float> x(tokens * inputs);
    x.Fill(random);
    const auto more = Perhaps<float>(random, tokens * rows, 50);
    Compare<float>("linear", seed, tokens * rows, [&](const Way &way, float *y) {
      const auto x_there = Moved(&x, way.place), more_there = Moved(more.get(), way.place);
      return fw_linear_run(layer.made, way.pool, tokens, x_there->get(), Pointer(more_there), y);
    }, All);
  }
}

void Depthwise(uint64_t seed) {
  Random random(seed);
  const int64_t channels = random.From(1, 40);
  Layer layer;
  {
    const DepthwiseParts parts(random, channels);
    if (fw_depthwise_create(&parts.spec, &layer.made) != 0) return Fail("depthwise", seed, fw_error());
  }
  RunImage("depthwise", seed, random, layer, channels, false);
}

void Block(uint64_t seed) {
  Random random(seed);
  const bool expands = random.Chance(75);
  const int64_t inputs = random.From(1, 24), inner = expands ? random.From(1, 60) : inputs;
  Layer layer;
  {
    const ConvParts expand(random, inner, inputs, kPoint);
    DepthwiseParts depthwise(random, inner);
    const bool residual = random.Chance(40);
    if (residual)
      depthwise.spec.window = {depthwise.window.kernel_h, depthwise.window.kernel_w, 1, 1, 1, 1,
                               (depthwise.window.kernel_h - 1) / 2, (depthwise.window.kernel_w - 1) / 2,
                               depthwise.window.kernel_h / 2, depthwise.window.kernel_w / 2};
    const ConvParts project(random, residual ? inputs : random.From(1, 40), inner, kPoint);
    const fw_block_spec spec = {expands ? &expand.spec : nullptr, &depthwise.spec, &project.spec, residual};
    if (fw_block_create(&spec, &layer.made) != 0) return Fail("block", seed, fw_error());
  }
  RunImage("block", seed, random, layer, inputs, false);
  const Image image = AnyImage(random);
  int64_t out[3];
  if (!Size(layer, image, out)) return;
  Buffer<float> x(image.batch * inputs * image.height * image.width);
  x.Fill(random);
  const int64_t x_parts = expands ? random.From(1, image.height) : 1;
  Compare<float>("block in parts", seed, image.batch * out[0] * out[1] * out[2], [&](const Way &way, float *y) {
    const auto x_there = Moved(&x, way.place);
    int64_t y_parts = 0;
    return fw_block_run(layer.made, way.pool, image.batch, image.height, image.width, x_there->get(), x_parts, y,
                        &y_parts);
  }, All);
}

// Integer images: in what a channel beyond the last holds, no two runs agree.
void RunQImage(const char *what, uint64_t seed, Random &random, const Layer &layer, int64_t channels,
               bool sums = false) {
  for (int turn = 0; turn < 2; ++turn) {
    const Image image = AnyImage(random);
    int64_t out[3];
    if (!Size(layer, image, out)) continue;
    const int64_t plane = image.height * image.width, groups = (channels + 3) / 4;
    const int64_t out_groups = (out[0] + 3) / 4, out_plane = out[1] * out[2];
    Buffer<uint8_t> x(image.batch * groups * plane * 4);
    x.Fill(random);
    Buffer<uint8_t> other(image.batch * out_groups * out_plane * 4);
    other.Fill(random);
    Compare<uint8_t>(what, seed, other.count(), [&](const Way &way, uint8_t *y) {
      const auto x_there = Moved(&x, way.place), other_there = Moved(&other, way.place);
      for (int64_t item = 0; item < image.batch; ++item)
        for (int64_t channel = channels; channel < groups * 4; ++channel)
          for (int64_t i = 0; i < plane; ++i)
            (*x_there)[((item * groups + channel / 4) * plane + i) * 4 + channel % 4] = static_cast<uint8_t>(way.dirt);
      return fw_qimage_run(layer.made, way.pool, image.batch, image.height, image.width, x_there->get(),
                           sums ? other_there->get() : nullptr, y);
    }, [&](int64_t i) { return i / (4 * out_plane) % out_groups * 4 + i % 4 < out[0]; });
  }
}

struct Quantized {
  Quantized(Random &random, int64_t rows) : bias(Perhaps<int32_t>(random, rows, 70)), scale(rows) {
    for (int64_t i = 0; i < rows; ++i) scale[i] = (1.5f + random.Number()) * 1e-3f;
    x_zero = static_cast<uint8_t>(random.From(0, 255));
    y_zero = static_cast<uint8_t>(random.From(0, 255));
    low = static_cast<uint8_t>(random.Chance(50) ? 0 : y_zero);
  }
  std::unique_ptr<Buffer<int32_t>> bias;
  Buffer<float> scale;
  uint8_t x_zero, y_zero, low;
};

int MakeQConv(Random &random, const fw_window &window, int64_t rows, int64_t inputs, bool sums, Layer &layer) {
  const Weights<int8_t> weights(random, rows, inputs, window.kernel_h * window.kernel_w, 4, 4, AnyDensity(random));
  const Quantized with(random, rows);
  const fw_qadd_spec sum = {0.02f, 0.03f, 0.04f, 100, 120, 128, with.low, 255};
  const fw_qconv_spec spec = {weights.matrix, window,      Pointer(with.bias), with.scale.get(),
                              with.x_zero,    with.y_zero, with.low,           255,
                              sums ? &sum : nullptr, random.Chance(50)};
  return fw_qconv_create(&spec, &layer.made);
}

void QConv(uint64_t seed) {
  Random random(seed);
  const int64_t inputs = random.From(1, 24), rows = random.From(1, 40);
  const bool sums = random.Chance(40);
  const fw_window window = random.Chance(40) ? kPoint : AnyWindow(random, 4);
  Layer layer;
  if (MakeQConv(random, window, rows, inputs, sums, layer) != 0) return Fail("integer convolution", seed, fw_error());
  RunQImage("integer convolution", seed, random, layer, inputs, sums);
}

int MakeQDepthwise(Random &random, int64_t channels, Layer &layer) {
  const fw_window window = AnyWindow(random, 5);
  Buffer<int8_t> weight(channels * window.kernel_h * window.kernel_w);
  weight.Fill(random);
  const Quantized with(random, channels);
  const fw_qdepthwise_spec spec = {channels,    window,      weight.get(), Pointer(with.bias), with.scale.get(),
                                   with.x_zero, with.y_zero, with.low,     255};
  return fw_qdepthwise_create(&spec, &layer.made);
}

void QDepthwise(uint64_t seed) {
  Random random(seed);
  const int64_t channels = random.From(1, 30);
  Layer layer;
  if (MakeQDepthwise(random, channels, layer) != 0) return Fail("integer depthwise", seed, fw_error());
  RunQImage("integer depthwise", seed, random, layer, channels);
}

void QBlock(uint64_t seed) {
  Random random(seed);
  const int64_t inputs = random.From(1, 12), wide = random.From(1, 30), rows = random.From(1, 20);
  const bool sums = random.Chance(40), expands = random.Chance(70);
  Layer expand, depthwise, project, layer;
  if ((expands && MakeQConv(random, kPoint, wide, inputs, false, expand) != 0) ||
      MakeQDepthwise(random, wide, depthwise) != 0 || MakeQConv(random, kPoint, rows, wide, sums, project) != 0 ||
      fw_qblock_create(expand.made, depthwise.made, project.made, &layer.made) != 0)
    return Fail("integer block", seed, fw_error());
  RunQImage("integer block", seed, random, layer, expands ? inputs : wide, sums);
}

void QMaxPool(uint64_t seed) {
  Random random(seed);
  const int64_t channels = random.From(1, 30);
  fw_window window = AnyWindow(random, 4);
  // A window that lies on the border alone has no largest.
  const auto inside = [](int32_t &pad, int32_t kernel) { pad = pad < kernel ? pad : kernel - 1; };
  inside(window.pad_top, window.kernel_h);
  inside(window.pad_bottom, window.kernel_h);
  inside(window.pad_left, window.kernel_w);
  inside(window.pad_right, window.kernel_w);
  const fw_qmaxpool_spec spec = {channels, window};
  Layer layer;
  if (fw_qmaxpool_create(&spec, &layer.made) != 0) return Fail("integer pool", seed, fw_error());
  RunQImage("integer pool", seed, random, layer, channels);
}

void QMean(uint64_t seed) {
  Random random(seed);
  const int64_t channels = random.From(1, 40);
  const fw_qmean_spec spec = {channels, 0.02f, 0.03f, 100, 120};
  Layer layer;
  if (fw_qmean_create(&spec, &layer.made) != 0) return Fail("integer mean", seed, fw_error());
  RunQImage("integer mean", seed, random, layer, channels);
}

void Bytes(uint64_t seed) {
  Random random(seed);
  const int64_t batch = random.From(1, 3), channels = random.From(1, 21), plane = random.From(1, 200);
  const int64_t packed = batch * ((channels + 3) / 4) * plane * 4;
  Buffer<uint8_t> x(batch * channels * plane), there(packed);
  x.Fill(random);
  const auto counts = [&](int64_t i) { return i / (4 * plane) % ((channels + 3) / 4) * 4 + i % 4 < channels; };
  Compare<uint8_t>("pack4", seed, packed, [&](const Way &way, uint8_t *y) {
    const auto x_there = Moved(&x, way.place);
    const int status = fw_pack4(way.pool, batch, channels, plane, x_there->get(), y);
    if (status == 0) std::memcpy(there.get(), y, static_cast<size_t>(packed));
    return status;
  }, counts);
  Buffer<float> floats(x.count());
  floats.Fill(random);
  Compare<uint8_t>("quantize4", seed, packed, [&](const Way &way, uint8_t *y) {
    const auto floats_there = Moved(&floats, way.place);
    return fw_quantize4(way.pool, batch, channels, plane, floats_there->get(), 0.01f, 128, y);
  }, counts);
  Compare<uint8_t>("unpack4", seed, x.count(), [&](const Way &way, uint8_t *y) {
    const auto packed_there = Moved(&there, way.place);
    const int status = fw_unpack4(way.pool, batch, channels, plane, packed_there->get(), y);
    if (status == 0 && std::memcmp(y, x.get(), static_cast<size_t>(x.count())) != 0)
      Fail("unpack4", seed, "it does not give back what pack4 took");
    return status;
  }, All);
  const int64_t count = random.From(1, 500);
  Buffer<uint8_t> a(count), b(count);
  a.Fill(random);
  b.Fill(random);
  const fw_qadd_spec spec = {0.02f, 0.03f, 0.04f, 100, 120, 128, 0, 255};
  Compare<uint8_t>("integer sum", seed, count, [&](const Way &way, uint8_t *y) {
    const auto a_there = Moved(&a, way.place), b_there = Moved(&b, way.place);
    return fw_qadd_run(way.pool, &spec, count, a_there->get(), b_there->get(), y);
  }, All);
}

void Tokens(uint64_t seed) {
  Random random(seed);
  fw_attention_spec spec{};
  spec.batch = random.From(1, 2);
  spec.queries = random.From(1, 40);
  spec.keys = random.Chance(50) ? spec.queries : random.From(1, 40);
  spec.heads = random.From(1, 4);
  spec.size = random.From(1, 40);
  spec.scale = 0.3f;
  const int64_t width = spec.heads * spec.size;
  const auto token = [&] { return random.Chance(50) ? width : random.From(width, 3 * width); };
  spec.q_token = token();
  spec.k_token = token();
  spec.v_token = token();
  const auto floats = [&](int64_t tokens, int64_t step) { return (spec.batch * tokens - 1) * step + width; };
  Buffer<float> q(floats(spec.queries, spec.q_token)), k(floats(spec.keys, spec.k_token)),
      v(floats(spec.keys, spec.v_token));
  for (const auto *buffer : {&q, &k, &v}) buffer->Fill(random);
  const bool by_query = random.Chance(50), by_head = random.Chance(50), by_batch = random.Chance(50);
  const int64_t rows = by_query ? spec.queries : 1, heads = by_head ? spec.heads : 1;
  spec.mask_query = by_query ? spec.keys : 0;
  spec.mask_head = by_head ? spec.keys * rows : 0;
  spec.mask_batch = by_batch ? spec.keys * rows * heads : 0;
  const auto mask = Perhaps<float>(random, spec.keys * rows * heads * (by_batch ? spec.batch : 1), 60);
  Compare<float>("attention", seed, spec.batch * spec.queries * width, [&](const Way &way, float *y) {
    const auto q_there = Moved(&q, way.place), k_there = Moved(&k, way.place), v_there = Moved(&v, way.place),
               mask_there = Moved(mask.get(), way.place);
    return fw_attention_run(way.pool, &spec, q_there->get(), k_there->get(), v_there->get(), Pointer(mask_there), y);
  }, All);

  const int64_t lines = random.From(1, 9), size = random.From(1, 130);
  Buffer<float> x(lines * size), gain(size);
  x.Fill(random);
  gain.Fill(random);
  const auto bias = Perhaps<float>(random, size, 60);
  Compare<float>("layer norm", seed, lines * size, [&](const Way &way, float *y) {
    const auto x_there = Moved(&x, way.place), gain_there = Moved(&gain, way.place),
               bias_there = Moved(bias.get(), way.place);
    return fw_layer_norm_run(way.pool, lines, size, 1e-5f, gain_there->get(), Pointer(bias_there), x_there->get(), y);
  }, All);
  Compare<float>("turned layer norm", seed, lines * size, [&](const Way &way, float *y) {
    const auto x_there = Moved(&x, way.place), gain_there = Moved(&gain, way.place),
               bias_there = Moved(bias.get(), way.place);
    return fw_layer_norm_turned_run(way.pool, 1, size, lines, 1e-5f, gain_there->get(), Pointer(bias_there),
                                    x_there->get(), y);
  }, All);
  Buffer<float> turned_q(spec.batch * width * spec.queries), turned_k(spec.batch * width * spec.keys);
  turned_q.Fill(random);
  turned_k.Fill(random);
  Compare<float>("turned attention", seed, spec.batch * spec.queries * width, [&](const Way &way, float *y) {
    const auto q_there = Moved(&turned_q, way.place), k_there = Moved(&turned_k, way.place),
               mask_there = Moved(mask.get(), way.place);
    return fw_attention_turned_run(way.pool, &spec, q_there->get(), k_there->get(), k_there->get(),
                                   Pointer(mask_there), y);
  }, All);
}

int Main(uint64_t seed, uint64_t cases) {
  if (fw_path() == nullptr) {
    std::printf("%s\n", fw_error());
    return 2;
  }
  constexpr void (*kinds[])(uint64_t) = {Conv,       Linear, Depthwise, Block, QConv,
                                         QDepthwise, QBlock, QMaxPool,  QMean, Bytes, Tokens};
  for (uint64_t i = 0; i < cases; ++i) {
    if (fw_set_threads(i % 3 == 0 ? 2 : 1) != 0) Fail("threads", i, fw_error());
    for (const auto kind : kinds) kind(seed + i);
  }
  std::printf("%s, vnni %d: %llu cases of every layer, %d failures\n", fw_path(), fw_has_vnni(),
              static_cast<unsigned long long>(cases), failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace check

int main(int count, char **arguments) {
  const auto number = [&](int i, uint64_t otherwise) {
    return count > i ? std::strtoull(arguments[i], nullptr, 10) : otherwise;
  };
  return check::Main(number(1, 1), number(2, 20));
}
