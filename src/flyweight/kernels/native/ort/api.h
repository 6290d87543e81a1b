// The little of ONNX Runtime's C interface that custom operations need, declared in our own words: its wheels carry no
// headers. The interface is a table of function pointers that only ever grows at its end, so a slot's number, once
// published, means the same function in every later version; the types behind the pointers stay unknown here.
#ifndef FLYWEIGHT_ORT_API_H
#define FLYWEIGHT_ORT_API_H

#include <cstddef>
#include <cstdint>

struct OrtCustomOp;
struct OrtStatus;
struct OrtSessionOptions;
struct OrtCustomOpDomain;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtShapeInferContext;
struct OrtOpAttr;
struct OrtValue;
struct OrtLogger;
struct OrtTensorTypeAndShapeInfo;

// A table of which no type is declared: `slot` tells how a function is reached.
struct OrtApi {
  void *slots[1];
};

struct OrtApiBase {
  const OrtApi *(*GetApi)(uint32_t version);
  const char *(*GetVersionString)();
};

namespace flyweight::ort {

// The version whose functions are asked for: that of ONNX Runtime 1.17, which brought shapes and ParallelFor.
constexpr uint32_t kVersion = 17;

enum Slot : int {
  kCreateStatus = 0,
  kGetErrorMessage = 2,
  kCreateCustomOpDomain = 26,
  kCustomOpDomainAdd = 27,
  kAddCustomOpDomain = 28,
  kGetTensorMutableData = 51,
  kCreateTensorTypeAndShapeInfo = 57,
  kSetTensorElementType = 58,
  kSetDimensions = 59,
  kGetTensorElementType = 60,
  kGetDimensionsCount = 61,
  kGetDimensions = 62,
  kGetSymbolicDimensions = 63,
  kGetTensorTypeAndShape = 65,
  kInfoGetFloat = 85,
  kInfoGetInt = 86,
  kInfoGetString = 87,
  kContextGetInput = 90,
  kContextGetOutput = 91,
  kReleaseStatus = 93,
  kReleaseTensorTypeAndShapeInfo = 99,
  kReleaseCustomOpDomain = 101,
  kInfoGetFloats = 162,
  kInfoGetInts = 163,
  kInfoInputCount = 230,
  kInfoInputName = 232,
  kInfoNodeName = 244,
  kInfoGetLogger = 245,
  kInfoConstantInput = 249,
  kShapesInputCount = 267,
  kShapesInput = 268,
  kShapesAttribute = 269,
  kShapesSetOutput = 270,
  kSetSymbolicDimensions = 271,
  kReadOpAttr = 272,
  kContextParallelFor = 274,
};

// Each slot's function. All but the releasing ones return nullptr for success, or a status that the caller releases.
template <Slot>
struct Signature;
template <>
struct Signature<kCreateStatus> {
  using type = OrtStatus *(*)(int code, const char *text);
};
template <>
struct Signature<kGetErrorMessage> {
  using type = const char *(*)(const OrtStatus *);
};
template <>
struct Signature<kReleaseStatus> {
  using type = void (*)(OrtStatus *);
};
template <>
struct Signature<kReleaseTensorTypeAndShapeInfo> {
  using type = void (*)(OrtTensorTypeAndShapeInfo *);
};
template <>
struct Signature<kReleaseCustomOpDomain> {
  using type = void (*)(OrtCustomOpDomain *);
};

#define FW_ORT_FUNCTION(SLOT, ...)                   \
  template <>                                        \
  struct Signature<SLOT> {                            \
    using type = OrtStatus *(*)(__VA_ARGS__);        \
  }
FW_ORT_FUNCTION(kCreateCustomOpDomain, const char *name, OrtCustomOpDomain **);
FW_ORT_FUNCTION(kCustomOpDomainAdd, OrtCustomOpDomain *, const OrtCustomOp *);
FW_ORT_FUNCTION(kAddCustomOpDomain, OrtSessionOptions *, OrtCustomOpDomain *);
FW_ORT_FUNCTION(kGetTensorMutableData, OrtValue *, void **);
FW_ORT_FUNCTION(kCreateTensorTypeAndShapeInfo, OrtTensorTypeAndShapeInfo **);
FW_ORT_FUNCTION(kSetTensorElementType, OrtTensorTypeAndShapeInfo *, int type);
FW_ORT_FUNCTION(kSetDimensions, OrtTensorTypeAndShapeInfo *, const int64_t *, size_t);
FW_ORT_FUNCTION(kGetTensorElementType, const OrtTensorTypeAndShapeInfo *, int *type);
FW_ORT_FUNCTION(kGetDimensionsCount, const OrtTensorTypeAndShapeInfo *, size_t *);
FW_ORT_FUNCTION(kGetDimensions, const OrtTensorTypeAndShapeInfo *, int64_t *, size_t);
FW_ORT_FUNCTION(kGetSymbolicDimensions, const OrtTensorTypeAndShapeInfo *, const char **, size_t);
FW_ORT_FUNCTION(kGetTensorTypeAndShape, const OrtValue *, OrtTensorTypeAndShapeInfo **);
FW_ORT_FUNCTION(kInfoGetFloat, const OrtKernelInfo *, const char *name, float *);
FW_ORT_FUNCTION(kInfoGetInt, const OrtKernelInfo *, const char *name, int64_t *);
FW_ORT_FUNCTION(kInfoGetString, const OrtKernelInfo *, const char *name, char *, size_t *);
FW_ORT_FUNCTION(kContextGetInput, const OrtKernelContext *, size_t index, const OrtValue **);
FW_ORT_FUNCTION(kContextGetOutput, OrtKernelContext *, size_t index, const int64_t *, size_t, OrtValue **);
FW_ORT_FUNCTION(kInfoGetFloats, const OrtKernelInfo *, const char *name, float *, size_t *);
FW_ORT_FUNCTION(kInfoGetInts, const OrtKernelInfo *, const char *name, int64_t *, size_t *);
FW_ORT_FUNCTION(kInfoInputCount, const OrtKernelInfo *, size_t *);
FW_ORT_FUNCTION(kInfoInputName, const OrtKernelInfo *, size_t index, char *, size_t *);
FW_ORT_FUNCTION(kInfoNodeName, const OrtKernelInfo *, char *, size_t *);
FW_ORT_FUNCTION(kInfoGetLogger, const OrtKernelInfo *, const OrtLogger **);
FW_ORT_FUNCTION(kInfoConstantInput, const OrtKernelInfo *, size_t index, int *is_constant, const OrtValue **);
FW_ORT_FUNCTION(kShapesInputCount, const OrtShapeInferContext *, size_t *);
FW_ORT_FUNCTION(kShapesInput, const OrtShapeInferContext *, size_t index, OrtTensorTypeAndShapeInfo **);
FW_ORT_FUNCTION(kShapesAttribute, const OrtShapeInferContext *, const char *name, const OrtOpAttr **);
FW_ORT_FUNCTION(kShapesSetOutput, const OrtShapeInferContext *, size_t index, const OrtTensorTypeAndShapeInfo *);
FW_ORT_FUNCTION(kSetSymbolicDimensions, OrtTensorTypeAndShapeInfo *, const char **, size_t);
FW_ORT_FUNCTION(kReadOpAttr, const OrtOpAttr *, int type, void *data, size_t bytes, size_t *needed);
FW_ORT_FUNCTION(kContextParallelFor, const OrtKernelContext *, void (*)(void *, size_t), size_t total, size_t batches,
                void *);
#undef FW_ORT_FUNCTION

// The function in a slot; the reading goes by bytes, for the table is longer than its declaration here.
template <Slot slot>
typename Signature<slot>::type Get(const OrtApi *api) {
  using Pointer = typename Signature<slot>::type;
  static_assert(sizeof(Pointer) == sizeof(void *), "ONNX Runtime's table holds pointers to functions");
  return reinterpret_cast<const Pointer *>(api)[slot];
}

enum Type : int { kNoType = 0, kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6 };
enum Presence : int { kRequired = 0, kOptional = 1, kVariadic = 2 };
enum AttributeType : int { kIntAttribute = 1, kIntsAttribute = 2 };
enum Code : int { kFail = 1, kInvalidArgument = 2, kRuntimeException = 6, kInvalidGraph = 10 };

}  // namespace flyweight::ort

// What an operation tells of itself. Laid out as ONNX Runtime reads it, up to what version 17 has; it looks at no field
// of a later version where `version` is an earlier one.
struct OrtCustomOp {
  uint32_t version;
  void *(*CreateKernel)(const OrtCustomOp *, const OrtApi *, const OrtKernelInfo *);
  const char *(*GetName)(const OrtCustomOp *);
  const char *(*GetExecutionProviderType)(const OrtCustomOp *);
  int (*GetInputType)(const OrtCustomOp *, size_t index);
  size_t (*GetInputTypeCount)(const OrtCustomOp *);
  int (*GetOutputType)(const OrtCustomOp *, size_t index);
  size_t (*GetOutputTypeCount)(const OrtCustomOp *);
  void (*KernelCompute)(void *kernel, OrtKernelContext *);
  void (*KernelDestroy)(void *kernel);
  int (*GetInputCharacteristic)(const OrtCustomOp *, size_t index);
  int (*GetOutputCharacteristic)(const OrtCustomOp *, size_t index);
  int (*GetInputMemoryType)(const OrtCustomOp *, size_t index);
  int (*GetVariadicInputMinArity)(const OrtCustomOp *);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp *);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp *);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp *);
  OrtStatus *(*CreateKernelV2)(const OrtCustomOp *, const OrtApi *, const OrtKernelInfo *, void **kernel);
  OrtStatus *(*KernelComputeV2)(void *kernel, OrtKernelContext *);
  OrtStatus *(*InferOutputShapeFn)(const OrtCustomOp *, OrtShapeInferContext *);
  int (*GetStartVersion)(const OrtCustomOp *);
  int (*GetEndVersion)(const OrtCustomOp *);
  // Version 18 and later: in-place and alias maps. Here for the table to be long enough, always nullptr.
  void *later[4];
};

static_assert(offsetof(OrtCustomOp, CreateKernel) == sizeof(void *), "a pointer follows the version");
static_assert(offsetof(OrtCustomOp, CreateKernelV2) == 17 * sizeof(void *), "seventeen pointers come before");
static_assert(offsetof(OrtCustomOp, later) == 22 * sizeof(void *), "version 17 has twenty-one functions");

#endif
