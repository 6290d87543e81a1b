// The integer loops for AVX-512 with VNNI.
// GCC 12 takes the undefined registers of its own header for mistakes of ours.
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#include <stdint.h>

#include "int8/loops.h"

namespace flyweight::int8::avx512vnni {
namespace {

// In here and not outside: what two instruction sets share under one name would be linked once, for either.
using flyweight::int8::Addition;
using flyweight::int8::Clamp;
using flyweight::int8::Quantization;
#include "isa/qvector_512.inl"

#include "isa/qloops.inl"

}  // namespace
}  // namespace flyweight::int8::avx512vnni

const flyweight::int8::Table &flyweight::int8::Avx512VnniTable() { return flyweight::int8::avx512vnni::kTable; }
