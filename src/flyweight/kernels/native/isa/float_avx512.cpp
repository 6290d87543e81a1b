// The float loops of SpMM for avx512.
#include "core/kernels.h"
#include "flyweight_kernels.h"
#include "isa/vector_avx512.inl"
#include "isa/activation.inl"
#include "isa/spmm.inl"
#include "isa/gemv.inl"
#include "isa/pack.inl"
#include "isa/image.inl"

namespace flyweight {
namespace avx512 {

const SpmmKernels kSpmm = {Vec::kLanes, FindSpmm, FindGemv, PackRows, PackTokens, StoreTokens, CopyRows, ShiftPlane};

}  // namespace avx512
}  // namespace flyweight
