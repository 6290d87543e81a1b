// Pack4 and Unpack4: integer images to the layout c4 and back.
#include "ort/operations.h"
#include "ort/weights.h"

namespace flyweight::ort {
namespace {

class Pack4 {
 public:
  static constexpr const char *kName = "Pack4";
  static constexpr const char *kInputs[] = {"x"};
  static constexpr Type kInputTypes[] = {kUint8};
  static constexpr size_t kNeeded = 1;
  static constexpr Type kOut = kUint8;

  explicit Pack4(const Node &) {}

  void Run(Call &call) const {
    Tensor x;
    call.Read(0, &x);
    if (x.rank != 4) throw Failure{"its x is " + x.Text() + " and has to be [batch, channels, height, width]"};
    const int64_t shape[5] = {x.shape[0], (x.shape[1] + 3) / 4, x.shape[2], x.shape[3], 4};
    uint8_t *y = call.Output<uint8_t>(shape, 5);
    const int64_t plane = shape[2] * shape[3];
    if (!shape[0] || !shape[1] || !plane) return;
    Check(fw_pack4(call.pool(), shape[0], x.shape[1], plane, x.As<uint8_t>(), y));
  }

  static void Infer(const Shapes &shapes) {
    const Shape x = shapes.Input(0);
    if (x.size() != 4) return;
    const Size groups{x[1].value < 0 ? -1 : (x[1].value + 3) / 4, ""};
    shapes.Output(0, kUint8, {x[0], groups, x[2], x[3], {4, ""}});
  }
};

class Unpack4 {
 public:
  static constexpr const char *kName = "Unpack4";
  static constexpr const char *kInputs[] = {"x"};
  static constexpr Type kInputTypes[] = {kUint8};
  static constexpr size_t kNeeded = 1;
  static constexpr Type kOut = kUint8;

  explicit Unpack4(const Node &node) : channels_(node.Integer("channels", 1, kMostRows)) {}

  void Run(Call &call) const {
    Tensor x;
    call.Read(0, &x);
    CheckImage4(x, channels_);
    const int64_t shape[4] = {x.shape[0], channels_, x.shape[2], x.shape[3]};
    uint8_t *y = call.Output<uint8_t>(shape, 4);
    const int64_t plane = shape[2] * shape[3];
    if (!shape[0] || !plane) return;
    Check(fw_unpack4(call.pool(), shape[0], channels_, plane, x.As<uint8_t>(), y));
  }

  static void Infer(const Shapes &shapes) {
    const Shape x = shapes.Input(0);
    if (x.size() != 5) return;
    shapes.Output(0, kUint8, {x[0], {shapes.Integer("channels"), ""}, x[2], x[3]});
  }

 private:
  int64_t channels_;
};

}  // namespace

const OrtCustomOp *Pack4Op() { return Operation<Pack4>::Table(); }
const OrtCustomOp *Unpack4Op() { return Operation<Unpack4>::Table(); }
const Kind &Pack4Kind() { return KindOf<Pack4>(); }
const Kind &Unpack4Kind() { return KindOf<Unpack4>(); }

}  // namespace flyweight::ort
