// An operation as ONNX Runtime wants it, made of a plain class that has
//
//   static constexpr const char *kName; the inputs' names kInputs[] and types kInputTypes[], of which the first kNeeded
//   must be there; the output's type kOut;
//   explicit Class(const Node &), which reads and packs the weights; void run(Call &) const; static void infer(Shapes).
//
// All of them raise Failure.
#ifndef FLYWEIGHT_ORT_OPERATION_H
#define FLYWEIGHT_ORT_OPERATION_H

#include <climits>
#include <iterator>
#include <memory>
#include <type_traits>

#include "ort/call.h"
#include "ort/shapes.h"

namespace flyweight::ort {

// The table that ONNX Runtime gave where it loaded the library; inferring shapes is not given one.
const OrtApi *LoadedApi();

// A layer of the library, freed with its owner.
class Layer {
 public:
  Layer() = default;
  Layer(const Layer &) = delete;
  Layer &operator=(const Layer &) = delete;
  ~Layer() { fw_layer_free(layer_); }
  fw_layer **out() { return &layer_; }
  const fw_layer *get() const { return layer_; }

 private:
  fw_layer *layer_ = nullptr;
};

// What a node runs.
class Work {
 public:
  virtual ~Work() = default;
  virtual void Run(Call &call) const = 0;
  // The layer of the library that it runs, on images of so many channels; NULL where there is none to tell of.
  virtual const fw_layer *layer() const { return nullptr; }
  virtual int64_t channels() const { return 0; }
};

template <class Class, class = void>
struct OfLayer {
  static const fw_layer *Get(const Class &) { return nullptr; }
  static int64_t Channels(const Class &) { return 0; }
};
template <class Class>
struct OfLayer<Class, std::void_t<decltype(std::declval<Class>().layer())>> {
  static const fw_layer *Get(const Class &work) { return work.layer(); }
  static int64_t Channels(const Class &work) { return work.channels(); }
};

// An operation as a part of another: see network.cpp.
struct Kind {
  const char *name;
  const char *const *inputs;
  const Type *input_types;
  size_t input_count, needed;
  Type out;
  std::unique_ptr<Work> (*make)(const Node &part);
};

template <class Class>
const Kind &KindOf() {
  struct Made final : Work {
    explicit Made(const Node &part) : work(part) {}
    void Run(Call &call) const override { work.Run(call); }
    const fw_layer *layer() const override { return OfLayer<Class>::Get(work); }
    int64_t channels() const override { return OfLayer<Class>::Channels(work); }
    Class work;
  };
  static const Kind kind{Class::kName,
                         Class::kInputs,
                         Class::kInputTypes,
                         std::size(Class::kInputs),
                         Class::kNeeded,
                         Class::kOut,
                         [](const Node &part) -> std::unique_ptr<Work> { return std::make_unique<Made>(part); }};
  return kind;
}

template <class Class>
class Operation {
 public:
  static const OrtCustomOp *Table() {
    static const OrtCustomOp made = Make();
    return &made;
  }

 private:
  struct Kernel {
    Kernel(const Node &node) : api(node.api()), title(node.Title()), threads(ThreadsOf(node.logger())), work(node) {}
    const OrtApi *api;
    std::string title;
    std::shared_ptr<Threads> threads;
    Class work;
  };

  static OrtCustomOp Make() {
    OrtCustomOp op{};
    op.version = kVersion;
    op.GetName = [](const OrtCustomOp *) { return Class::kName; };
    op.GetExecutionProviderType = [](const OrtCustomOp *) -> const char * { return nullptr; };
    op.GetInputType = [](const OrtCustomOp *, size_t index) { return static_cast<int>(Class::kInputTypes[index]); };
    op.GetInputTypeCount = [](const OrtCustomOp *) { return std::size(Class::kInputTypes); };
    op.GetOutputType = [](const OrtCustomOp *, size_t) { return static_cast<int>(Class::kOut); };
    op.GetOutputTypeCount = [](const OrtCustomOp *) { return size_t{1}; };
    op.GetInputCharacteristic = [](const OrtCustomOp *, size_t index) -> int {
      if (Class::kInputTypes[index] == kNoType) return kVariadic;  // any number of any types
      return index < Class::kNeeded ? kRequired : kOptional;
    };
    op.GetOutputCharacteristic = [](const OrtCustomOp *, size_t) -> int { return kRequired; };
    op.GetInputMemoryType = [](const OrtCustomOp *, size_t) { return 0; };
    op.GetVariadicInputMinArity = [](const OrtCustomOp *) { return 1; };
    op.GetVariadicInputHomogeneity = [](const OrtCustomOp *) { return 0; };
    op.GetVariadicOutputMinArity = [](const OrtCustomOp *) { return 1; };
    op.GetVariadicOutputHomogeneity = [](const OrtCustomOp *) { return 1; };
    op.GetStartVersion = [](const OrtCustomOp *) { return 1; };
    op.GetEndVersion = [](const OrtCustomOp *) { return INT_MAX; };
    op.KernelDestroy = [](void *kernel) { delete static_cast<Kernel *>(kernel); };
    op.CreateKernelV2 = &Create;
    op.KernelComputeV2 = &Compute;
    op.InferOutputShapeFn = &Infer;
    return op;
  }

  static OrtStatus *Create(const OrtCustomOp *, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    const Node node(api, info, Class::kName, Class::kInputs);
    return Guarded(api, [&] { *kernel = new Kernel(node); }, [&] { return node.Title(); });
  }

  static OrtStatus *Compute(void *kernel, OrtKernelContext *context) {
    const Kernel &self = *static_cast<const Kernel *>(kernel);
    return Guarded(
        self.api,
        [&] {
          NodeCall call(self.api, context, *self.threads);
          self.work.Run(call);
        },
        [&] { return self.title; });
  }

  static OrtStatus *Infer(const OrtCustomOp *, OrtShapeInferContext *context) {
    const OrtApi *api = LoadedApi();
    return Guarded(api, [&] { Class::Infer(Shapes(api, context)); }, [] { return std::string(Class::kName); });
  }
};

}  // namespace flyweight::ort

#endif
