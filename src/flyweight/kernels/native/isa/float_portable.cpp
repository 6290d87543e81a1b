// The float loops of SpMM for portable.
#include "core/kernels.h"
#include "flyweight_kernels.h"
#include "isa/vector_portable.inl"
#include "isa/activation.inl"
#include "isa/spmm.inl"
#include "isa/gemv.inl"
#include "isa/pack.inl"
#include "isa/image.inl"

namespace flyweight {
namespace portable {

const SpmmKernels kSpmm = {Vec::kLanes, FindSpmm, FindGemv, PackRows, PackTokens, StoreTokens, CopyRows, ShiftPlane};

}  // namespace portable
}  // namespace flyweight
