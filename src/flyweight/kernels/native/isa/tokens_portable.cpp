// The loops beside a transformer's linear layers for portable.
#include "core/tokens.h"
#include "flyweight_kernels.h"
#include "isa/vector_portable.inl"
#include "isa/activation.inl"
#include "isa/attention.inl"
#include "isa/normalize.inl"

namespace flyweight {
namespace portable {

extern const TokenKernels kTokens = {Vec::kLanes, {Attend<1>, Attend<2>}, Normalize, NormalizeColumns};

}  // namespace portable
}  // namespace flyweight
