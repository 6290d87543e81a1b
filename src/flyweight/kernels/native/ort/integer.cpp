// QSparseConv, QDepthwise, QMaxPool, QMean and QAdd: integer images in c4.
#include <algorithm>
#include <array>

#include "ort/operations.h"
#include "ort/weights.h"

namespace flyweight::ort {
namespace {

uint8_t ByteOf(const Node &node, const char *name) { return static_cast<uint8_t>(node.Integer(name, 0, 255)); }

template <class Spec>
void ReadZeros(const Node &node, Spec &spec) {
  spec.x_zero = ByteOf(node, "x_zero");
  spec.y_zero = ByteOf(node, "y_zero");
  spec.y_low = ByteOf(node, "y_low");
  spec.y_high = ByteOf(node, "y_high");
}

const float *ScaleOf(const Node &node, size_t input, int64_t rows) {
  const float *scale = VectorOf(node, input, rows, "scale");
  if (!scale) throw Failure{"its input 'scale' is missing. Export the file again.", kInvalidGraph};
  return scale;
}

// A sum's numbers, of which y is called `result` in the attributes.
fw_qadd_spec SumOf(const Node &node, const std::string &result) {
  const auto number = [&](const std::string &name) { return node.Number(name.c_str()); };
  const auto byte = [&](const std::string &name) { return ByteOf(node, name.c_str()); };
  return {number("a_scale"), number("b_scale"),      number(result + "_scale"), byte("a_zero"),
          byte("b_zero"),    byte(result + "_zero"), byte(result + "_low"),     byte(result + "_high")};
}

// `residual` is the input that is added to what the layer gives; 0 where it takes none.
void RunIntegers(Call &call, const Layer &layer, int64_t channels, size_t residual = 0) {
  Tensor x, other;
  call.Read(0, &x);
  CheckImage4(x, channels);
  int64_t size[3];
  Check(fw_output_size(layer.get(), x.shape[2], x.shape[3], size));
  const int64_t shape[5] = {x.shape[0], (size[0] + 3) / 4, size[1], size[2], 4};
  uint8_t *y = call.Output<uint8_t>(shape, 5);
  if (!shape[0]) return;
  if (residual != 0 && (!call.Read(residual, &other) || other.rank != 5 || !std::equal(shape, shape + 5, other.shape)))
    throw Failure{"its residual is " + other.Text() + " and what it is added to " + List(shape, 5) +
                  "; they have to have one shape"};
  Check(fw_qimage_run(layer.get(), call.pool(), x.shape[0], x.shape[2], x.shape[3], x.As<uint8_t>(),
                      other.As<uint8_t>(), y));
}

void InferIntegers(const Shapes &shapes, int64_t rows, const std::vector<int64_t> &kernel) {
  const Shape x = shapes.Input(0);
  if (x.size() != 5) return;
  const Size groups{rows < 1 ? -1 : (rows + 3) / 4, ""};
  shapes.Output(0, kUint8,
                {x[0], groups, Windowed(shapes, x[2], 0, kernel), Windowed(shapes, x[3], 1, kernel), {4, ""}});
}

class QSparseConv {
 public:
  static constexpr const char *kName = "QSparseConv";
  static constexpr const char *kInputs[] = {"x", "values", "keep", "bias", "scale", "residual"};
  static constexpr Type kInputTypes[] = {kUint8, kInt8, kUint8, kInt32, kFloat, kUint8};
  static constexpr size_t kNeeded = 3;
  static constexpr Type kOut = kUint8;

  explicit QSparseConv(const Node &node) : channels_(node.Integer("inputs", 1, kMostRows)) {
    const int64_t rows = node.Integer("rows", 1, kMostRows);
    fw_qconv_spec spec{};
    spec.window = WindowOf(node);
    spec.weight = MatrixOf(node, 1, kInt8, "block", rows, channels_,
                            static_cast<int64_t>(spec.window.kernel_h) * spec.window.kernel_w);
    spec.bias = IntegersOf(node, 3, rows, "bias");
    spec.scale = ScaleOf(node, 4, rows);
    ReadZeros(node, spec);
    fw_qadd_spec sum{};
    if (node.Has(kResidual)) {
      residual_ = kResidual;
      sum = SumOf(node, "sum");
      spec.sum = &sum;
      spec.sum_second = static_cast<int32_t>(node.Integer("sum_second", 0, 1));
    }
    Check(fw_qconv_create(&spec, layer_.out()));
  }

  void Run(Call &call) const { RunIntegers(call, layer_, channels_, residual_); }

  const fw_layer *layer() const { return layer_.get(); }
  int64_t channels() const { return channels_; }

  static void Infer(const Shapes &shapes) {
    InferIntegers(shapes, shapes.Integer("rows"), shapes.Integers("kernel_shape"));
  }

 private:
  static constexpr size_t kResidual = 5;
  int64_t channels_;
  size_t residual_ = 0;
  Layer layer_;
};

class QDepthwise {
 public:
  static constexpr const char *kName = "QDepthwise";
  static constexpr const char *kInputs[] = {"x", "weight", "bias", "scale"};
  static constexpr Type kInputTypes[] = {kUint8, kInt8, kInt32, kFloat};
  static constexpr size_t kNeeded = 2;
  static constexpr Type kOut = kUint8;

  explicit QDepthwise(const Node &node) {
    const Constant weight = DepthwiseWeight(node, 1, kInt8);
    fw_qdepthwise_spec spec{};
    spec.channels = channels_ = weight.shape[0];
    spec.window = WindowOf(node, weight.shape[2], weight.shape[3]);
    spec.weight = weight.As<int8_t>();
    spec.bias = IntegersOf(node, 2, channels_, "bias");
    spec.scale = ScaleOf(node, 3, channels_);
    ReadZeros(node, spec);
    Check(fw_qdepthwise_create(&spec, layer_.out()));
  }

  void Run(Call &call) const { RunIntegers(call, layer_, channels_); }

  const fw_layer *layer() const { return layer_.get(); }
  int64_t channels() const { return channels_; }

  static void Infer(const Shapes &shapes) {
    const Shape weight = shapes.Input(1);
    if (weight.size() != 4) return;
    InferIntegers(shapes, weight[0].value, {weight[2].value, weight[3].value});
  }

 private:
  int64_t channels_;
  Layer layer_;
};

// What is one layer of images, of which the node tells the channels.
class OfImages {
 public:
  explicit OfImages(const Node &node) : channels_(node.Integer("channels", 1, kMostRows)) {}

  void Run(Call &call) const { RunIntegers(call, layer_, channels_); }

 protected:
  int64_t channels_;
  Layer layer_;
};

class QMaxPool final : public OfImages {
 public:
  static constexpr const char *kName = "QMaxPool";
  static constexpr const char *kInputs[] = {"x"};
  static constexpr Type kInputTypes[] = {kUint8};
  static constexpr size_t kNeeded = 1;
  static constexpr Type kOut = kUint8;

  explicit QMaxPool(const Node &node) : OfImages(node) {
    const fw_qmaxpool_spec spec{channels_, WindowOf(node)};
    Check(fw_qmaxpool_create(&spec, layer_.out()));
  }

  static void Infer(const Shapes &shapes) {
    InferIntegers(shapes, shapes.Integer("channels"), shapes.Integers("kernel_shape"));
  }
};

class QMean final : public OfImages {
 public:
  static constexpr const char *kName = "QMean";
  static constexpr const char *kInputs[] = {"x"};
  static constexpr Type kInputTypes[] = {kUint8};
  static constexpr size_t kNeeded = 1;
  static constexpr Type kOut = kUint8;

  explicit QMean(const Node &node) : OfImages(node) {
    const fw_qmean_spec spec{channels_, node.Number("x_scale"), node.Number("y_scale"), ByteOf(node, "x_zero"),
                             ByteOf(node, "y_zero")};
    Check(fw_qmean_create(&spec, layer_.out()));
  }

  static void Infer(const Shapes &shapes) {
    const Shape x = shapes.Input(0);
    if (x.size() == 5) shapes.Output(0, kUint8, {x[0], x[1], {1, ""}, {1, ""}, {4, ""}});
  }
};

class QAdd {
 public:
  static constexpr const char *kName = "QAdd";
  static constexpr const char *kInputs[] = {"a", "b"};
  static constexpr Type kInputTypes[] = {kUint8, kUint8};
  static constexpr size_t kNeeded = 2;
  static constexpr Type kOut = kUint8;

  explicit QAdd(const Node &node) {
    spec_ = SumOf(node, "y");
    Check(fw_qadd_run(nullptr, &spec_, 0, nullptr, nullptr, nullptr));  // what is wrong with the numbers, told now
  }

  void Run(Call &call) const {
    Tensor a, b;
    call.Read(0, &a);
    call.Read(1, &b);
    bool same = a.rank == b.rank;
    int64_t count = 1;
    for (size_t i = 0; same && i < a.rank; ++i) {
      same = a.shape[i] == b.shape[i];
      count *= a.shape[i];
    }
    if (!same) throw Failure{"its a is " + a.Text() + " and its b " + b.Text() + "; they have to have one shape"};
    uint8_t *y = call.Output<uint8_t>(a.shape, a.rank);
    if (count) Check(fw_qadd_run(call.pool(), &spec_, count, a.As<uint8_t>(), b.As<uint8_t>(), y));
  }

  static void Infer(const Shapes &shapes) {
    const Shape a = shapes.Input(0);
    if (!a.empty()) shapes.Output(0, kUint8, a);
  }

 private:
  fw_qadd_spec spec_;
};

// Layers as one, which they outlive.
class QBlock final : public Work {
 public:
  QBlock(int64_t channels, bool sums) : channels_(channels), residual_(sums ? 1 : 0) {}
  void Run(Call &call) const override { RunIntegers(call, made, channels_, residual_); }
  Layer made;

 private:
  int64_t channels_;
  size_t residual_;
};

constexpr const char *kBlockInputs[] = {"x", "residual"};
constexpr Type kBlockTypes[] = {kUint8, kUint8};

}  // namespace

const Kind &QBlockKind() {
  static const Kind kind{"block", kBlockInputs, kBlockTypes, 2, 1, kUint8, nullptr};
  return kind;
}

std::unique_ptr<Work> BlockOf(const std::array<const Work *, 3> &parts, bool sums) {
  auto block = std::make_unique<QBlock>((parts[0] ? parts[0] : parts[1])->channels(), sums);
  const fw_layer *expand = parts[0] ? parts[0]->layer() : nullptr;
  if (fw_qblock_create(expand, parts[1]->layer(), parts[2]->layer(), block->made.out()) != 0) return nullptr;
  return block;
}

const OrtCustomOp *QSparseConvOp() { return Operation<QSparseConv>::Table(); }
const OrtCustomOp *QDepthwiseOp() { return Operation<QDepthwise>::Table(); }
const OrtCustomOp *QMaxPoolOp() { return Operation<QMaxPool>::Table(); }
const OrtCustomOp *QMeanOp() { return Operation<QMean>::Table(); }
const OrtCustomOp *QAddOp() { return Operation<QAdd>::Table(); }
const Kind &QSparseConvKind() { return KindOf<QSparseConv>(); }
const Kind &QDepthwiseKind() { return KindOf<QDepthwise>(); }
const Kind &QMaxPoolKind() { return KindOf<QMaxPool>(); }
const Kind &QMeanKind() { return KindOf<QMean>(); }
const Kind &QAddKind() { return KindOf<QAdd>(); }

}  // namespace flyweight::ort
