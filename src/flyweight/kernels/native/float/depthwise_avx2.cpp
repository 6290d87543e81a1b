// The depthwise loops for avx2.
#include "float/depthwise_loops.h"
#include "flyweight_kernels.h"
#include "isa/vector_avx2.inl"
#include "isa/activation.inl"
#include "isa/depthwise.inl"

namespace flyweight {
namespace avx2 {

extern const DepthwiseLoops kDepthwise = {FindDepthwise};

}  // namespace avx2
}  // namespace flyweight
