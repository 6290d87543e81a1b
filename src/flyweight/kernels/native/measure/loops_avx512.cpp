// AVX-512.
#include "measure/loops.h"

namespace flyweight {
namespace avx512 {

constexpr int kBytes = 64;
#include "measure/loops.inl"

}  // namespace avx512
}  // namespace flyweight
