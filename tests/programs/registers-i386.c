/*
 * Keeps every general, x87, vector and mask register of a 32-bit program loaded while it spins without a system call, and
 * compares them all with what they were loaded with.
 */
#include "self-check.h"
#include <cpuid.h>
#include <stdint.h>

enum { GENERAL = 7, VECTORS = 8, MASKS = 8, WIDE = 64 };

uint32_t general_in[GENERAL], general_out[GENERAL], kept_esp, spins, flags_out;
unsigned char vectors_in[VECTORS][WIDE] __attribute__((aligned(64))), vectors_out[VECTORS][WIDE] __attribute__((aligned(64)));
uint64_t masks_in[MASKS], masks_out[MASKS];
unsigned char fpu_in[512] __attribute__((aligned(64))), fpu_out[512] __attribute__((aligned(64)));
unsigned int default_mxcsr = 0x1f80;

#define GENERAL_REGISTERS(M) M(0, "eax") M(1, "ebx") M(2, "ecx") M(3, "edx") M(4, "esi") M(5, "edi") M(6, "ebp")
#define LOAD(index, name) "mov general_in + 4*" #index ", %" name "\n"
#define STORE(index, name) "mov %" name ", general_out + 4*" #index "\n"
#define EACH8(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define LOAD_ZMM(n) "vmovdqu64 vectors_in + 64*" #n ", %zmm" #n "\n"
#define STORE_ZMM(n) "vmovdqu64 %zmm" #n ", vectors_out + 64*" #n "\n"
#define LOAD_YMM(n) "vmovdqu vectors_in + 64*" #n ", %ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %ymm" #n ", vectors_out + 64*" #n "\n"
#define LOAD_XMM(n) "movdqu vectors_in + 64*" #n ", %xmm" #n "\n"
#define STORE_XMM(n) "movdqu %xmm" #n ", vectors_out + 64*" #n "\n"
#define LOAD_MASK(n) "kmovq masks_in + 8*" #n ", %k" #n "\n"
#define STORE_MASK(n) "kmovq %k" #n ", masks_out + 8*" #n "\n"

/* The carry flag is kept by dec; the counter is in memory, because no register is free. */
#define ROUND(name, load, store)                                                                                      \
  void name(void);                                                                                                    \
  __asm__(".text\n.globl " #name "\n" #name ":\n"                                                                     \
          "pusha\nmov %esp, kept_esp\nfxrstor fpu_in\n" load GENERAL_REGISTERS(LOAD) "stc\n"                          \
          "1: decl spins\njnz 1b\n"                                                                                   \
          "pushf\npopl flags_out\n" GENERAL_REGISTERS(STORE) store "fxsave fpu_out\nfninit\nldmxcsr default_mxcsr\n"  \
          "cmp %esp, kept_esp\nje 2f\nud2\n2: popa\nret\n")

ROUND(round_avx512, EACH8(LOAD_ZMM) EACH8(LOAD_MASK), EACH8(STORE_ZMM) EACH8(STORE_MASK) "vzeroupper\n");
ROUND(round_avx, EACH8(LOAD_YMM), EACH8(STORE_YMM) "vzeroupper\n");
ROUND(round_sse, EACH8(LOAD_XMM), EACH8(STORE_XMM));

static unsigned xcr0(void) {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static uint64_t state = 88172645463325252ULL;
static uint64_t pattern(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

int main(void) {
  unsigned a, b, c, d, width = 16;
  void (*round)(void) = round_sse;
  __cpuid(1, a, b, c, d);
  if ((c & (1u << 27)) && (xcr0() & 6) == 6) {
    round = round_avx;
    width = 32;
    __cpuid_count(7, 0, a, b, c, d);
    if ((b & (1u << 16)) && (b & (1u << 30)) && (xcr0() & 0xe6) == 0xe6) {
      round = round_avx512;
      width = 64;
    }
  }
  __asm__ volatile("fninit\nfldpi\nfldl2e\nfld1\nfldlg2\nfxsave fpu_in\nfninit" ::: "memory");
  *(unsigned short *)fpu_in = 0x077f;                      /* control word: rounding up, exceptions masked */
  *(unsigned int *)(fpu_in + 24) = 0x1f80 | 0x6000 | 0x20; /* MXCSR: rounding to zero, and a sticky flag */
  say("ready\n");
  for (int rounds = 0; !may_go(); rounds++) {
    CHECK(rounds < PATIENCE, "nobody told me to go on");
    for (int i = 0; i < GENERAL; i++) general_in[i] = (uint32_t)pattern();
    for (int i = 0; i < VECTORS; i++)
      for (int j = 0; j < WIDE; j += 8) *(uint64_t *)&vectors_in[i][j] = pattern();
    for (int i = 0; i < MASKS; i++) masks_in[i] = pattern();
    spins = 20000000;
    round();
    for (int i = 0; i < GENERAL; i++) CHECK(general_in[i] == general_out[i], "general register %d has changed", i);
    for (int i = 0; i < VECTORS; i++) CHECK(memcmp(vectors_in[i], vectors_out[i], width) == 0, "vector register %d has changed", i);
    for (int i = 0; i < MASKS && width == 64; i++) CHECK(masks_in[i] == masks_out[i], "mask register %d has changed", i);
    CHECK(memcmp(fpu_in, fpu_out, 2) == 0, "the x87 control word is %x", *(unsigned short *)fpu_out);
    CHECK(memcmp(fpu_in + 24, fpu_out + 24, 4) == 0, "MXCSR is %x", *(unsigned int *)(fpu_out + 24));
    for (int i = 0; i < 8; i++) CHECK(memcmp(fpu_in + 32 + 16 * i, fpu_out + 32 + 16 * i, 10) == 0, "st%d has changed", i);
    CHECK(flags_out & 1, "the carry flag has changed");
  }
  say("ok\n");
  return 0;
}
