/*
 * Keeps every general, x87, vector and mask register loaded while it spins without a system call, and compares them all
 * with what they were loaded with.
 */
#include "self-check.h"
#include <cpuid.h>

enum { GENERAL = 15, VECTORS = 32, MASKS = 8, WIDE = 64 };

unsigned long general_in[GENERAL], general_out[GENERAL];
unsigned char vectors_in[VECTORS][WIDE] __attribute__((aligned(64))), vectors_out[VECTORS][WIDE] __attribute__((aligned(64)));
unsigned long masks_in[MASKS], masks_out[MASKS];
unsigned char fpu_in[512] __attribute__((aligned(64))), fpu_out[512] __attribute__((aligned(64)));
unsigned long spins, flags_out;

#define GENERAL_REGISTERS(M) \
  M(0, "rax") M(1, "rbx") M(2, "rcx") M(3, "rdx") M(4, "rsi") M(5, "rdi") M(6, "rbp") M(7, "r8") \
  M(8, "r9") M(9, "r10") M(10, "r11") M(11, "r12") M(12, "r13") M(13, "r14") M(14, "r15")
#define LOAD(index, name) "mov general_in + 8*" #index "(%rip), %" name "\n"
#define STORE(index, name) "mov %" name ", general_out + 8*" #index "(%rip)\n"
#define EACH8(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define EACH16(M) EACH8(M) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define EACH32(M) EACH16(M) M(16) M(17) M(18) M(19) M(20) M(21) M(22) M(23) M(24) M(25) M(26) M(27) M(28) M(29) M(30) M(31)
#define LOAD_ZMM(n) "vmovdqu64 vectors_in + 64*" #n "(%rip), %zmm" #n "\n"
#define STORE_ZMM(n) "vmovdqu64 %zmm" #n ", vectors_out + 64*" #n "(%rip)\n"
#define LOAD_YMM(n) "vmovdqu vectors_in + 64*" #n "(%rip), %ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %ymm" #n ", vectors_out + 64*" #n "(%rip)\n"
#define LOAD_XMM(n) "movdqu vectors_in + 64*" #n "(%rip), %xmm" #n "\n"
#define STORE_XMM(n) "movdqu %xmm" #n ", vectors_out + 64*" #n "(%rip)\n"
#define LOAD_MASK(n) "kmovq masks_in + 8*" #n "(%rip), %k" #n "\n"
#define STORE_MASK(n) "kmovq %k" #n ", masks_out + 8*" #n "(%rip)\n"

/* The carry flag is kept by dec; the counter is in memory, because no register is free. */
#define ROUND(name, load, store)                                                                                        \
  void name(void);                                                                                                      \
  __asm__(".text\n.globl " #name "\n" #name ":\n"                                                                       \
          "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"                                          \
          "fxrstor64 fpu_in(%rip)\n" load GENERAL_REGISTERS(LOAD) "stc\n"                                               \
          "1: decq spins(%rip)\njnz 1b\n"                                                                               \
          "pushfq\npopq flags_out(%rip)\n" GENERAL_REGISTERS(STORE) store "fxsave64 fpu_out(%rip)\nfninit\n"            \
          "ldmxcsr default_mxcsr(%rip)\n"                                                                               \
          "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n")

unsigned int default_mxcsr = 0x1f80;
ROUND(round_avx512, EACH32(LOAD_ZMM) EACH8(LOAD_MASK), EACH32(STORE_ZMM) EACH8(STORE_MASK) "vzeroupper\n");
ROUND(round_avx, EACH16(LOAD_YMM), EACH16(STORE_YMM) "vzeroupper\n");
ROUND(round_sse, EACH16(LOAD_XMM), EACH16(STORE_XMM));

static unsigned long xcr0(void) {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((unsigned long)high << 32) | low;
}

static unsigned long state = 88172645463325252UL;
static unsigned long pattern(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

int main(void) {
  unsigned a, b, c, d, vectors = 16, width = 16;
  void (*round)(void) = round_sse;
  __cpuid(1, a, b, c, d);
  if ((c & (1u << 27)) && (xcr0() & 6) == 6) {
    round = round_avx;
    width = 32;
    __cpuid_count(7, 0, a, b, c, d);
    if ((b & (1u << 16)) && (b & (1u << 30)) && (xcr0() & 0xe6) == 0xe6) {
      round = round_avx512;
      width = 64;
      vectors = 32;
    }
  }
  __asm__ volatile("fninit\nfldpi\nfldl2e\nfld1\nfldlg2\nfxsave64 fpu_in(%%rip)\nfninit" ::: "memory");
  *(unsigned short *)fpu_in = 0x077f;          /* control word: rounding up, exceptions masked */
  *(unsigned int *)(fpu_in + 24) = 0x1f80 | 0x6000 | 0x20; /* MXCSR: rounding to zero, and a sticky flag */
  say("ready\n");
  for (int rounds = 0; !may_go(); rounds++) {
    CHECK(rounds < PATIENCE, "nobody told me to go on");
    for (int i = 0; i < GENERAL; i++) general_in[i] = pattern();
    for (int i = 0; i < VECTORS; i++)
      for (int j = 0; j < WIDE; j += 8) *(unsigned long *)&vectors_in[i][j] = pattern();
    for (int i = 0; i < MASKS; i++) masks_in[i] = pattern();
    spins = 20000000;
    round();
    for (int i = 0; i < GENERAL; i++) CHECK(general_in[i] == general_out[i], "general register %d was %lx, is %lx", i, general_in[i], general_out[i]);
    for (unsigned i = 0; i < vectors; i++) CHECK(memcmp(vectors_in[i], vectors_out[i], width) == 0, "vector register %u has changed", i);
    for (int i = 0; i < MASKS && width == 64; i++) CHECK(masks_in[i] == masks_out[i], "mask register %d has changed", i);
    CHECK(memcmp(fpu_in, fpu_out, 2) == 0, "the x87 control word is %x", *(unsigned short *)fpu_out);
    CHECK(memcmp(fpu_in + 24, fpu_out + 24, 4) == 0, "MXCSR is %x", *(unsigned int *)(fpu_out + 24));
    for (int i = 0; i < 8; i++) CHECK(memcmp(fpu_in + 32 + 16 * i, fpu_out + 32 + 16 * i, 10) == 0, "st%d has changed", i);
    CHECK(flags_out & 1, "the carry flag has changed");
  }
  say("ok\n");
  return 0;
}
