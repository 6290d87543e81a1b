// SparseConv, Depthwise and SparseBlock: float images.
#include "ort/operations.h"

#include "ort/weights.h"

namespace flyweight::ort {
namespace {

// Runs a layer of float images on the node's first input.
void RunImage(Call &call, const Layer &layer, int64_t channels, size_t residual_input) {
  Tensor x, residual;
  call.Read(0, &x);
  CheckImage(x, channels);
  int64_t size[3];
  Check(fw_output_size(layer.get(), x.shape[2], x.shape[3], size));
  const int64_t shape[4] = {x.shape[0], size[0], size[1], size[2]};
  if (residual_input && call.Read(residual_input, &residual)) {
    bool same = residual.rank == 4;
    for (size_t i = 0; same && i < 4; ++i) same = residual.shape[i] == shape[i];
    if (!same) throw Failure{"its residual is " + residual.Text() + " and its output " + List(shape, 4)};
  }
  float *y = call.Output<float>(shape, 4);
  if (!shape[0]) return;
  Check(fw_image_run(layer.get(), call.pool(), x.shape[0], x.shape[2], x.shape[3], x.As<float>(),
                     residual.As<float>(), y));
}

void InferImage(const Shapes &shapes, const Size &rows, const std::vector<int64_t> &kernel) {
  const Shape x = shapes.Input(0);
  if (x.size() != 4) return;
  shapes.Output(0, kFloat, {x[0], rows, Windowed(shapes, x[2], 0, kernel), Windowed(shapes, x[3], 1, kernel)});
}

std::vector<int64_t> Spatial(const Shape &weight) {
  return weight.size() == 4 ? std::vector<int64_t>{weight[2].value, weight[3].value} : std::vector<int64_t>{};
}

class SparseConv {
 public:
  static constexpr const char *kName = "SparseConv";
  static constexpr const char *kInputs[] = {"x", "values", "keep", "bias", "residual"};
  static constexpr Type kInputTypes[] = {kFloat, kFloat, kUint8, kFloat, kFloat};
  static constexpr size_t kNeeded = 3;
  static constexpr Type kOut = kFloat;

  explicit SparseConv(const Node &node) : channels_(node.Integer("inputs", 1, kMostRows)) {
    const int64_t rows = node.Integer("rows", 1, kMostRows);
    fw_conv_spec spec{};
    spec.window = WindowOf(node);
    spec.weight = MatrixOf(node, 1, kFloat, "block", rows, channels_,
                            static_cast<int64_t>(spec.window.kernel_h) * spec.window.kernel_w);
    spec.bias = VectorOf(node, 3, rows, "bias");
    spec.activation = node.Activation("activation");
    Check(fw_conv_create(&spec, layer_.out()));
    residual_ = node.Has(4) ? 4 : 0;
  }

  void Run(Call &call) const { RunImage(call, layer_, channels_, residual_); }

  static void Infer(const Shapes &shapes) {
    InferImage(shapes, {shapes.Integer("rows"), ""}, shapes.Integers("kernel_shape"));
  }

 private:
  int64_t channels_;
  size_t residual_ = 0;
  Layer layer_;
};

class Depthwise {
 public:
  static constexpr const char *kName = "Depthwise";
  static constexpr const char *kInputs[] = {"x", "weight", "bias"};
  static constexpr Type kInputTypes[] = {kFloat, kFloat, kFloat};
  static constexpr size_t kNeeded = 2;
  static constexpr Type kOut = kFloat;

  explicit Depthwise(const Node &node) {
    const Constant weight = DepthwiseWeight(node, 1, kFloat);
    fw_depthwise_spec spec{};
    spec.channels = channels_ = weight.shape[0];
    spec.window = WindowOf(node, weight.shape[2], weight.shape[3]);
    spec.weight = weight.As<float>();
    spec.bias = VectorOf(node, 2, channels_, "bias");
    spec.activation = node.Activation("activation");
    Check(fw_depthwise_create(&spec, layer_.out()));
  }

  void Run(Call &call) const { RunImage(call, layer_, channels_, 0); }

  static void Infer(const Shapes &shapes) {
    const Shape weight = shapes.Input(1);
    InferImage(shapes, weight.empty() ? Size{} : weight[0], Spatial(weight));
  }

 private:
  int64_t channels_;
  Layer layer_;
};

class SparseBlock {
 public:
  static constexpr const char *kName = "SparseBlock";
  static constexpr const char *kInputs[] = {"x",
                                            "expand_values",
                                            "expand_keep",
                                            "expand_bias",
                                            "depthwise_weight",
                                            "depthwise_bias",
                                            "project_values",
                                            "project_keep",
                                            "project_bias"};
  static constexpr Type kInputTypes[] = {kFloat, kFloat, kUint8, kFloat, kFloat, kFloat, kFloat, kUint8, kFloat};
  // An input after a missing one cannot be asked for by ONNX Runtime; the making of the kernel asks for the rest.
  static constexpr size_t kNeeded = 1;
  static constexpr Type kOut = kFloat;

  explicit SparseBlock(const Node &node) : channels_(node.Integer("inputs", 1, kMostRows)) {
    const int64_t rows = node.Integer("rows", 1, kMostRows);
    const bool expands = node.Has(1);
    const int64_t between = expands ? node.Integer("expand_rows", 1, kMostRows) : channels_;
    fw_conv_spec expand{};
    expand.window = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0};
    if (expands) {
      expand.weight = MatrixOf(node, 1, kFloat, "expand_block", between, channels_, 1);
      expand.bias = VectorOf(node, 3, between, "bias of the expansion");
      expand.activation = node.Activation("expand_activation");
    }
    const Constant weight = DepthwiseWeight(node, 4, kFloat);
    if (weight.shape[0] != between) {
      throw Failure{"its depthwise weight is " + List(weight.shape) + ", and " + std::to_string(between) +
                        " channels reach it. Export the file again.",
                    kInvalidGraph};
    }
    fw_depthwise_spec depthwise{};
    depthwise.channels = between;
    depthwise.window = WindowOf(node, weight.shape[2], weight.shape[3]);
    depthwise.weight = weight.As<float>();
    depthwise.bias = VectorOf(node, 5, between, "bias of the depthwise convolution");
    depthwise.activation = node.Activation("activation");
    fw_conv_spec project{};
    project.window = expand.window;
    project.weight = MatrixOf(node, 6, kFloat, "project_block", rows, between, 1);
    project.bias = VectorOf(node, 8, rows, "bias of the projection");
    fw_block_spec spec{};
    spec.expand = expands ? &expand : nullptr;
    spec.depthwise = &depthwise;
    spec.project = &project;
    spec.residual = static_cast<int32_t>(node.IntegerOr("residual", 0, 0, 1));
    Check(fw_block_create(&spec, layer_.out()));
  }

  void Run(Call &call) const {
    Tensor x;
    call.Read(0, &x);
    CheckImage(x, channels_);
    int64_t size[3];
    Check(fw_output_size(layer_.get(), x.shape[2], x.shape[3], size));
    const int64_t shape[4] = {x.shape[0], size[0], size[1], size[2]};
    float *y = call.Output<float>(shape, 4);
    if (!shape[0]) return;
    int64_t parts = call.MayCut();
    Check(fw_block_run(layer_.get(), call.pool(), x.shape[0], x.shape[2], x.shape[3], x.As<float>(), x.parts, y,
                       &parts));
    call.Cut(parts);
  }

  static void Infer(const Shapes &shapes) {
    InferImage(shapes, {shapes.Integer("rows"), ""}, Spatial(shapes.Input(4)));
  }

 private:
  int64_t channels_;
  Layer layer_;
};

}  // namespace

const OrtCustomOp *SparseConvOp() { return Operation<SparseConv>::Table(); }
const OrtCustomOp *DepthwiseOp() { return Operation<Depthwise>::Table(); }
const OrtCustomOp *SparseBlockOp() { return Operation<SparseBlock>::Table(); }
const Kind &SparseConvKind() { return KindOf<SparseConv>(); }
const Kind &DepthwiseKind() { return KindOf<Depthwise>(); }
const Kind &SparseBlockKind() { return KindOf<SparseBlock>(); }

}  // namespace flyweight::ort
