// SparseLinear: float tokens, (..., inputs) to (..., rows).
#include "ort/operations.h"
#include "ort/weights.h"

namespace flyweight::ort {
namespace {

class SparseLinear {
 public:
  static constexpr const char *kName = "SparseLinear";
  static constexpr const char *kInputs[] = {"x", "values", "keep", "bias", "residual"};
  static constexpr Type kInputTypes[] = {kFloat, kFloat, kUint8, kFloat, kFloat};
  static constexpr size_t kNeeded = 3;
  static constexpr Type kOut = kFloat;

  explicit SparseLinear(const Node &node)
      : rows_(node.Integer("rows", 1, kMostRows)), inputs_(node.Integer("inputs", 1, kMostRows)) {
    fw_linear_spec spec{};
    spec.weight = MatrixOf(node, 1, kFloat, "block", rows_, inputs_, 1);
    spec.bias = VectorOf(node, 3, rows_, "bias");
    spec.activation = node.Activation("activation");
    Check(fw_linear_create(&spec, layer_.out()));
    residual_ = node.Has(4);
  }

  void Run(Call &call) const {
    Tensor x, residual;
    call.Read(0, &x);
    if (!x.rank || x.shape[x.rank - 1] != inputs_) {
      throw Failure{"its x is " + x.Text() + " and has to end in " + std::to_string(inputs_) + " features"};
    }
    int64_t shape[kMostRank], tokens = 1;
    for (size_t i = 0; i + 1 < x.rank; ++i) tokens *= shape[i] = x.shape[i];
    shape[x.rank - 1] = rows_;
    if (residual_ && call.Read(4, &residual)) {
      bool same = residual.rank == x.rank;
      for (size_t i = 0; same && i < x.rank; ++i) same = residual.shape[i] == shape[i];
      if (!same) throw Failure{"its residual is " + residual.Text() + " and its output " + List(shape, x.rank)};
    }
    float *y = call.Output<float>(shape, x.rank);
    if (tokens) {
      Check(fw_linear_run(layer_.get(), call.pool(), tokens, x.As<float>(), residual.As<float>(), y));
    }
  }

  static void Infer(const Shapes &shapes) {
    Shape shape = shapes.Input(0);
    if (shape.empty()) return;
    shape.back() = {shapes.Integer("rows"), ""};
    shapes.Output(0, kFloat, shape);
  }

 private:
  int64_t rows_, inputs_;
  bool residual_ = false;
  Layer layer_;
};

}  // namespace

const OrtCustomOp *SparseLinearOp() { return Operation<SparseLinear>::Table(); }
const Kind &SparseLinearKind() { return KindOf<SparseLinear>(); }

}  // namespace flyweight::ort
