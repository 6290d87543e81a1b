/* Preloaded into a process, hides AVX-512, AMX, AVX-VNNI from all of it, as on a processor that ends at AVX2.
 *
 * Libraries that choose their code by CPUID have no common switch. Linux lets a process have that instruction trap
 * (arch_prctl, "CPUID faulting"); the trap is answered here, with those bits cleared. Threads inherit the setting. */
#define _GNU_SOURCE /* REG_RIP */
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { SET_CPUID = 0x1012 };

static long allow(long on) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"((long)SYS_arch_prctl), "D"((long)SET_CPUID), "S"(on)
                   : "rcx", "r11", "memory");
  return result;
}

static uint32_t bits(const int *from, int count) {
  uint32_t found = 0;
  for (int i = 0; i < count; ++i) found |= 1u << from[i];
  return found;
}

static void answer(int number, siginfo_t *info, void *where) {
  static const int ebx[] = {16, 17, 21, 26, 27, 28, 30, 31}; /* avx512 f dq ifma pf er cd bw vl */
  static const int ecx[] = {1, 6, 11, 12, 14};               /* avx512 vbmi vbmi2 vnni bitalg vpopcntdq */
  static const int edx[] = {2, 3, 8, 22, 23, 24, 25};        /* avx512 4vnniw 4fmaps vp2intersect fp16; amx */
  static const int eax1[] = {4, 5, 21, 23};                  /* avx_vnni avx512_bf16 amx_fp16 avx_ifma */
  greg_t *registers = ((ucontext_t *)where)->uc_mcontext.gregs;
  const uint8_t *code = (const uint8_t *)registers[REG_RIP];
  if (info->si_code != SI_KERNEL || code[0] != 0x0f || code[1] != 0xa2) {
    signal(number, SIG_DFL); /* an ordinary fault: it happens again, and ends the process as ever */
    return;
  }
  const uint32_t leaf = (uint32_t)registers[REG_RAX], part = (uint32_t)registers[REG_RCX];
  uint32_t a, b, c, d;
  allow(1);
  __cpuid_count(leaf, part, a, b, c, d);
  allow(0);
  if (leaf == 7 && part == 0) {
    b &= ~bits(ebx, sizeof ebx / sizeof *ebx);
    c &= ~bits(ecx, sizeof ecx / sizeof *ecx);
    d &= ~bits(edx, sizeof edx / sizeof *edx);
  }
  if (leaf == 7 && part == 1) a &= ~bits(eax1, sizeof eax1 / sizeof *eax1);
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

/* Whether it works here. */
__attribute__((visibility("default"))) int avx2_cap_holds(void) {
  uint32_t a, b, c, d;
  __cpuid_count(7, 0, a, b, c, d);
  return (b & (1u << 16)) == 0;
}

__attribute__((constructor)) static void start(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, 0);
  allow(0);
}
