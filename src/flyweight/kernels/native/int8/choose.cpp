// Which integer loops are taken: those of the path in use.
#include "core/kernels.h"
#include "int8/loops.h"

namespace flyweight::int8 {

const Table &ActiveTable() {
  const Isa isa = ActiveIsa();
  const bool vnni = ActiveVnni();
#if FLYWEIGHT_AVX512VNNI
  if (isa == Isa::kAvx512 && vnni) return Avx512VnniTable();
#endif
#if FLYWEIGHT_AVXVNNI
  if (isa == Isa::kAvx2 && vnni) return AvxVnniTable();
#endif
#if FLYWEIGHT_AVX2
  // AVX-512 without VNNI is a processor of few years; these loops are exact there too.
  if (isa != Isa::kPortable) return Avx2Table();
#endif
  static_cast<void>(isa);
  static_cast<void>(vnni);
  return PortableTable();
}

}  // namespace flyweight::int8
