// The depthwise loops for avx512.
#include "float/depthwise_loops.h"
#include "flyweight_kernels.h"
#include "isa/vector_avx512.inl"
#include "isa/activation.inl"
#include "isa/depthwise.inl"

namespace flyweight {
namespace avx512 {

extern const DepthwiseLoops kDepthwise = {FindDepthwise};

}  // namespace avx512
}  // namespace flyweight
