// The integer loops for AVX2 with AVX-VNNI.
#include <immintrin.h>
#include <stdint.h>

#define FW_VNNI_256 1

#include "int8/loops.h"

namespace flyweight::int8::avxvnni {
namespace {

// In here and not outside: what two instruction sets share under one name would be linked once, for either.
using flyweight::int8::Addition;
using flyweight::int8::Clamp;
using flyweight::int8::Quantization;
#include "isa/qvector_256.inl"

#include "isa/qloops.inl"

}  // namespace
}  // namespace flyweight::int8::avxvnni

const flyweight::int8::Table &flyweight::int8::AvxVnniTable() { return flyweight::int8::avxvnni::kTable; }
