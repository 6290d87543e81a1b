// Pack4, Quantize4 and Unpack4: images to integers in the layout c4, and back.
#include <algorithm>

#include "ort/operations.h"
#include "ort/weights.h"

namespace flyweight::ort {
namespace {

// An image that is brought to c4; y is NULL where nothing is in it.
struct Image {
  Tensor x;
  int64_t channels, shape[5];
  uint8_t *y;
};

Image ImageOf(Call &call) {
  Image image{};
  call.Read(0, &image.x);
  const int64_t *const size = image.x.shape;
  if (image.x.rank != 4)
    throw Failure{"its x is " + image.x.Text() + " and has to be [batch, channels, height, width]"};
  image.channels = size[1];
  const int64_t shape[5] = {size[0], (size[1] + 3) / 4, size[2], size[3], 4};
  std::copy(shape, shape + 5, image.shape);
  uint8_t *y = call.Output<uint8_t>(shape, 5);
  image.y = std::find(size, size + 4, 0) == size + 4 ? y : nullptr;
  return image;
}

void InferFours(const Shapes &shapes) {
  const Shape x = shapes.Input(0);
  if (x.size() != 4) return;
  const Size groups{x[1].value < 0 ? -1 : (x[1].value + 3) / 4, ""};
  shapes.Output(0, kUint8, {x[0], groups, x[2], x[3], {4, ""}});
}

class Pack4 {
 public:
  static constexpr const char *kName = "Pack4";
  static constexpr const char *kInputs[] = {"x"};
  static constexpr Type kInputTypes[] = {kUint8};
  static constexpr size_t kNeeded = 1;
  static constexpr Type kOut = kUint8;

  explicit Pack4(const Node &) {}

  void Run(Call &call) const {
    const Image image = ImageOf(call);
    if (!image.y) return;
    Check(fw_pack4(call.pool(), image.shape[0], image.channels, image.shape[2] * image.shape[3],
                   image.x.As<uint8_t>(), image.y));
  }

  static void Infer(const Shapes &shapes) { InferFours(shapes); }
};

class Quantize4 {
 public:
  static constexpr const char *kName = "Quantize4";
  static constexpr const char *kInputs[] = {"x"};
  static constexpr Type kInputTypes[] = {kFloat};
  static constexpr size_t kNeeded = 1;
  static constexpr Type kOut = kUint8;

  explicit Quantize4(const Node &node)
      : scale_(node.Number("scale")), zero_(static_cast<uint8_t>(node.Integer("zero", 0, 255))) {
    Check(fw_quantize4(nullptr, 0, 1, 1, nullptr, scale_, zero_, nullptr));  // what is wrong with the scale, told now
  }

  void Run(Call &call) const {
    const Image image = ImageOf(call);
    if (!image.y) return;
    Check(fw_quantize4(call.pool(), image.shape[0], image.channels, image.shape[2] * image.shape[3],
                       image.x.As<float>(), scale_, zero_, image.y));
  }

  static void Infer(const Shapes &shapes) { InferFours(shapes); }

 private:
  float scale_;
  uint8_t zero_;
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
const OrtCustomOp *Quantize4Op() { return Operation<Quantize4>::Table(); }
const OrtCustomOp *Unpack4Op() { return Operation<Unpack4>::Table(); }
const Kind &Pack4Kind() { return KindOf<Pack4>(); }
const Kind &Quantize4Kind() { return KindOf<Quantize4>(); }
const Kind &Unpack4Kind() { return KindOf<Unpack4>(); }

}  // namespace flyweight::ort
