// The loops beside a transformer's linear layers for avx512.
#include "core/tokens.h"
#include "flyweight_kernels.h"
#include "isa/vector_avx512.inl"
#include "isa/activation.inl"
#include "isa/attention.inl"
#include "isa/normalize.inl"

namespace flyweight {
namespace avx512 {

extern const TokenKernels kTokens = {Vec::kLanes, {Attend<1>, Attend<2>}, Normalize, NormalizeColumns};

}  // namespace avx512
}  // namespace flyweight
