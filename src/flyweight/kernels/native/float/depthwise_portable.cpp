// The depthwise loops for portable.
#include "float/depthwise_loops.h"
#include "flyweight_kernels.h"
#include "isa/vector_portable.inl"
#include "isa/activation.inl"
#include "isa/depthwise.inl"

namespace flyweight {
namespace portable {

extern const DepthwiseLoops kDepthwise = {FindDepthwise};

}  // namespace portable
}  // namespace flyweight
