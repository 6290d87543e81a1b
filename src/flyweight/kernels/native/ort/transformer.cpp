// Attention and LayerNorm: what stands between a transformer's linear layers.
#include <cmath>

#include "ort/operations.h"
#include "ort/weights.h"

namespace flyweight::ort {
namespace {

// softmax(scale q k^T + mask) v for each head, on what the linear layers give: (batch, tokens, heads * size), or images
// of one row, (batch, heads * size, 1, tokens), that 1x1 convolutions give. Without k and v, q holds all three, one after
// the other in each token. The mask is added, and its shape is one that stretches
// to (batch, heads, queries, keys).
class Attention {
 public:
  static constexpr const char *kName = "Attention";
  static constexpr const char *kInputs[] = {"q", "k", "v", "mask"};
  static constexpr Type kInputTypes[] = {kFloat, kFloat, kFloat, kFloat};
  static constexpr size_t kNeeded = 1;
  static constexpr Type kOut = kFloat;

  explicit Attention(const Node &node)
      : heads_(node.Integer("heads", 1, kMostRows)),
        size_(node.Integer("size", 1, kMostRows)),
        scale_(node.NumberOr("scale", 1 / std::sqrt(static_cast<float>(size_)))),
        apart_(node.Has(1)),
        masked_(node.Has(3)) {
    if (apart_ != node.Has(2)) {
      throw Failure{"it has one of the inputs 'k' and 'v', and needs both or none. Export the file again.",
                    kInvalidGraph};
    }
  }

  void Run(Call &call) const {
    Tensor q, k, v, mask;
    call.Read(0, &q);
    if (apart_) {
      call.Read(1, &k);
      call.Read(2, &v);
    }
    fw_attention_spec spec{};
    Fit(q, k, v, &spec);
    if (masked_) {
      call.Read(3, &mask);
      Stretch(mask, &spec);
    }
    const int64_t width = spec.heads * spec.size;
    if (q.rank == 4) {
      float *y = call.Output<float>(q.shape, 4);
      if (!spec.batch || !spec.queries) return;
      Check(fw_attention_turned_run(call.pool(), &spec, q.As<float>(), k.As<float>(), v.As<float>(), mask.As<float>(),
                                    y));
      return;
    }
    const int64_t shape[3] = {spec.batch, spec.queries, width};
    float *y = call.Output<float>(shape, 3);
    if (!spec.batch || !spec.queries) return;
    const float *const first = q.As<float>();
    Check(fw_attention_run(call.pool(), &spec, first, apart_ ? k.As<float>() : first + width,
                           apart_ ? v.As<float>() : first + 2 * width, mask.As<float>(), y));
  }

  static void Infer(const Shapes &shapes) {
    Shape q = shapes.Input(0);
    if (q.size() == 4) shapes.Output(0, kFloat, q);
    if (q.size() != 3) return;
    const int64_t heads = shapes.Integer("heads"), size = shapes.Integer("size");
    if (heads < 1 || size < 1 || heads > kMostRows || size > kMostRows) return;
    q[2] = {heads * size, ""};
    shapes.Output(0, kFloat, q);
  }

 private:
  void Fit(const Tensor &q, const Tensor &k, const Tensor &v, fw_attention_spec *spec) const {
    const int64_t token = (apart_ ? 1 : 3) * heads_ * size_;
    const size_t features = q.rank == 4 ? 1 : 2, tokens = q.rank == 4 ? 3 : 1;
    const auto right = [&](const Tensor &x) {
      return x.rank == q.rank && x.shape[features] == token && (x.rank == 3 || (x.rank == 4 && x.shape[2] == 1));
    };
    bool fits = right(q) && (apart_ || q.rank == 3);
    for (const Tensor *other : {&k, &v}) {
      if (!apart_) break;
      fits = fits && right(*other) && other->shape[0] == q.shape[0] && other->shape[tokens] == k.shape[tokens] &&
             other->shape[tokens] > 0;
    }
    if (!fits) {
      const std::string got = apart_ ? "its q, k and v are " + q.Text() + ", " + k.Text() + " and " + v.Text()
                                     : "its q is " + q.Text();
      const std::string wide = std::to_string(token);
      throw Failure{got + " and have to be [batch, tokens, " + wide + "]" +
                    (apart_ ? ", or [batch, " + wide + ", 1, tokens]" : "") + ", one token of k and v at least"};
    }
    spec->batch = q.shape[0];
    spec->queries = q.shape[tokens];
    spec->keys = apart_ ? k.shape[tokens] : spec->queries;
    spec->heads = heads_;
    spec->size = size_;
    spec->q_token = spec->k_token = spec->v_token = token;
    spec->scale = scale_;
  }

  void Stretch(const Tensor &mask, fw_attention_spec *spec) const {
    const int64_t full[4] = {spec->batch, spec->heads, spec->queries, spec->keys};
    int64_t steps[4] = {}, step = 1;
    bool fits = mask.rank >= 1 && mask.rank <= 4 && mask.shape[mask.rank - 1] == spec->keys;
    for (size_t back = 1; fits && back <= mask.rank; ++back) {
      const int64_t size = mask.shape[mask.rank - back];
      fits = size == full[4 - back] || size == 1;
      steps[4 - back] = size == 1 ? 0 : step;
      step *= size;
    }
    if (!fits) {
      throw Failure{"its mask is " + mask.Text() + " and has to stretch to " + List(full, 4) + ", the last in full"};
    }
    spec->mask_batch = steps[0];
    spec->mask_head = steps[1];
    spec->mask_query = steps[2];
  }

  int64_t heads_, size_;
  float scale_;
  bool apart_, masked_;
};

// y = (x - mean) / sqrt(variance + epsilon) * gain + bias over the last axis, or over the channels of images.
class LayerNorm {
 public:
  static constexpr const char *kName = "LayerNorm";
  static constexpr const char *kInputs[] = {"x", "gain", "bias"};
  static constexpr Type kInputTypes[] = {kFloat, kFloat, kFloat};
  static constexpr size_t kNeeded = 2;
  static constexpr Type kOut = kFloat;

  explicit LayerNorm(const Node &node)
      : epsilon_(node.NumberOr("epsilon", 1e-5f)), channels_(node.IntegerOr("channels", 0, 0, 1) != 0) {
    const Constant gain = node.ReadConstant(1, kFloat);
    gain_.assign(gain.As<float>(), gain.As<float>() + gain.count);
    if (gain_.empty()) throw Failure{"its gain is empty. Export the file again.", kInvalidGraph};
    if (const float *bias = VectorOf(node, 2, gain.count, "bias")) bias_.assign(bias, bias + gain.count);
  }

  void Run(Call &call) const {
    const auto size = static_cast<int64_t>(gain_.size());
    Tensor x;
    call.Read(0, &x);
    if (channels_) {
      CheckImage(x, size);
      float *y = call.Output<float>(x.shape, x.rank);
      Check(fw_layer_norm_turned_run(call.pool(), x.shape[0], size, x.shape[2] * x.shape[3], epsilon_, gain_.data(),
                                     bias_.empty() ? nullptr : bias_.data(), x.As<float>(), y));
      return;
    }
    if (!x.rank || x.shape[x.rank - 1] != size) {
      throw Failure{"its x is " + x.Text() + " and has to end in " + std::to_string(size) + " features"};
    }
    int64_t rows = 1;
    for (size_t i = 0; i + 1 < x.rank; ++i) rows *= x.shape[i];
    float *y = call.Output<float>(x.shape, x.rank);
    Check(fw_layer_norm_run(call.pool(), rows, size, epsilon_, gain_.data(), bias_.empty() ? nullptr : bias_.data(),
                            x.As<float>(), y));
  }

  static void Infer(const Shapes &shapes) {
    const Shape x = shapes.Input(0);
    if (!x.empty()) shapes.Output(0, kFloat, x);
  }

 private:
  float epsilon_;
  bool channels_;
  std::vector<float> gain_, bias_;
};

}  // namespace

const OrtCustomOp *AttentionOp() { return Operation<Attention>::Table(); }
const OrtCustomOp *LayerNormOp() { return Operation<LayerNorm>::Table(); }
const Kind &AttentionKind() { return KindOf<Attention>(); }
const Kind &LayerNormKind() { return KindOf<LayerNorm>(); }

}  // namespace flyweight::ort
