// The integer loops for any processor.
#include <stddef.h>
#include <stdint.h>

#include "int8/loops.h"

namespace flyweight::int8::portable {
namespace {

// In here and not outside: what two instruction sets share under one name would be linked once, for either.
using flyweight::int8::Addition;
using flyweight::int8::Clamp;
using flyweight::int8::Quantization;
#include "isa/qvector_plain.inl"

#include "isa/qloops.inl"

}  // namespace
}  // namespace flyweight::int8::portable

const flyweight::int8::Table &flyweight::int8::PortableTable() { return flyweight::int8::portable::kTable; }
