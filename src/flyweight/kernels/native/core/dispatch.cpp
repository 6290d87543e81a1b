// The choice of the instruction set, once a process.
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/kernels.h"
#include "flyweight_kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace flyweight {
namespace {

struct Choice {
  Isa isa;
  bool vnni;
};

struct Processor {
  bool avx2 = false, avx512 = false, vnni512 = false, vnni256 = false;
};

Processor Ask() {
  Processor found;
#if defined(__x86_64__)
  // libgcc's own test looks at what the operating system saves (XGETBV), not at the processor's bits alone.
  __builtin_cpu_init();
#if FLYWEIGHT_AVX2
  found.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if FLYWEIGHT_AVX512
  found.avx512 = found.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
#if FLYWEIGHT_AVX512VNNI
  found.vnni512 = found.avx512 && __builtin_cpu_supports("avx512vnni");
#endif
#if FLYWEIGHT_AVXVNNI
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (found.avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) found.vnni256 = (a >> 4 & 1) != 0;
#endif
#endif
  return found;
}

const char *Name(Isa isa) { return isa == Isa::kAvx512 ? "avx512" : isa == Isa::kAvx2 ? "avx2" : "portable"; }

Choice Choose() {
  const Processor has = Ask();
  Isa best = has.avx512 ? Isa::kAvx512 : has.avx2 ? Isa::kAvx2 : Isa::kPortable;
  const char *asked = std::getenv("FLYWEIGHT_KERNELS");
  if (asked != nullptr && *asked != '\0' && std::strcmp(asked, "none") != 0) {
    Isa wanted;
    if (std::strcmp(asked, "avx512") == 0)
      wanted = Isa::kAvx512;
    else if (std::strcmp(asked, "avx2") == 0)
      wanted = Isa::kAvx2;
    else if (std::strcmp(asked, "portable") == 0)
      wanted = Isa::kPortable;
    else
      Fail("FLYWEIGHT_KERNELS is \"%.40s\". Set it to avx512, avx2, portable or none, or unset it.", asked);
    if (static_cast<int>(wanted) > static_cast<int>(best))
      Fail("FLYWEIGHT_KERNELS asks for %s, which this processor lacks; its best is %s. Unset it, or set it to that.",
           Name(wanted), Name(best));
    best = wanted;
  }
  const char *vnni = std::getenv("FLYWEIGHT_VNNI");
  if (vnni != nullptr && std::strcmp(vnni, "0") == 0) return {best, false};  // for tests of what does without
  return {best, best == Isa::kAvx512 ? has.vnni512 : best == Isa::kAvx2 && has.vnni256};
}

// A choice that throws is tried anew at the next call, so every call tells the error.
const Choice &Chosen() {
  static const Choice choice = Choose();
  return choice;
}

}  // namespace

Isa ActiveIsa() { return Chosen().isa; }

bool ActiveVnni() { return Chosen().vnni; }

const SpmmKernels &Spmm() {
  switch (ActiveIsa()) {
#if FLYWEIGHT_AVX512
    case Isa::kAvx512:
      return avx512::kSpmm;
#endif
#if FLYWEIGHT_AVX2
    case Isa::kAvx2:
      return avx2::kSpmm;
#endif
    default:
      return portable::kSpmm;
  }
}

}  // namespace flyweight

extern "C" {

const char *fw_path(void) {
  try {
    return flyweight::Name(flyweight::ActiveIsa());
  } catch (...) {
    flyweight::ReportCurrentException("fw_path");
    return nullptr;
  }
}

int fw_has_vnni(void) {
  try {
    return flyweight::ActiveVnni() ? 1 : 0;
  } catch (...) {
    flyweight::ReportCurrentException("fw_has_vnni");
    return 0;
  }
}
}
