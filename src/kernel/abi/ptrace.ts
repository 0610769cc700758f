/** ptrace(2): requests, options, events, register sets. */
import { bytes } from '../struct.ts';
import { defineAbi } from './define-abi.ts';

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_PTRACE = {
  /** Linux 6.4, linux/ptrace.h */
  PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG: 0x4210,
  /** Linux 6.4, linux/ptrace.h */
  PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG: 0x4211,
  /** Linux 6.16, linux/ptrace.h */
  PTRACE_SET_SYSCALL_INFO: 0x4212,
} as const;

/** Requests, options and the flags of single requests. */
export const PTRACE = {
  PTRACE_TRACEME: 0x0,
  PTRACE_PEEKTEXT: 0x1,
  PTRACE_PEEKDATA: 0x2,
  PTRACE_PEEKUSER: 0x3,
  PTRACE_POKETEXT: 0x4,
  PTRACE_POKEDATA: 0x5,
  PTRACE_POKEUSER: 0x6,
  PTRACE_CONT: 0x7,
  PTRACE_KILL: 0x8,
  PTRACE_SINGLESTEP: 0x9,
  PTRACE_GETREGS: 0xc,
  PTRACE_SETREGS: 0xd,
  PTRACE_GETFPREGS: 0xe,
  PTRACE_SETFPREGS: 0xf,
  PTRACE_ATTACH: 0x10,
  PTRACE_DETACH: 0x11,
  PTRACE_GETFPXREGS: 0x12,
  PTRACE_SETFPXREGS: 0x13,
  PTRACE_SYSCALL: 0x18,
  PTRACE_GET_THREAD_AREA: 0x19,
  PTRACE_SET_THREAD_AREA: 0x1a,
  PTRACE_ARCH_PRCTL: 0x1e,
  PTRACE_SYSEMU: 0x1f,
  PTRACE_SYSEMU_SINGLESTEP: 0x20,
  PTRACE_SINGLEBLOCK: 0x21,
  PTRACE_SETOPTIONS: 0x4200,
  PTRACE_GETEVENTMSG: 0x4201,
  PTRACE_GETSIGINFO: 0x4202,
  PTRACE_SETSIGINFO: 0x4203,
  PTRACE_GETREGSET: 0x4204,
  PTRACE_SETREGSET: 0x4205,
  PTRACE_SEIZE: 0x4206,
  PTRACE_INTERRUPT: 0x4207,
  PTRACE_LISTEN: 0x4208,
  PTRACE_PEEKSIGINFO: 0x4209,
  PTRACE_GETSIGMASK: 0x420a,
  PTRACE_SETSIGMASK: 0x420b,
  PTRACE_SECCOMP_GET_FILTER: 0x420c,
  PTRACE_SECCOMP_GET_METADATA: 0x420d,
  PTRACE_GET_SYSCALL_INFO: 0x420e,
  PTRACE_GET_RSEQ_CONFIGURATION: 0x420f,
  PTRACE_O_TRACESYSGOOD: 0x1,
  PTRACE_O_TRACEFORK: 0x2,
  PTRACE_O_TRACEVFORK: 0x4,
  PTRACE_O_TRACECLONE: 0x8,
  PTRACE_O_TRACEEXEC: 0x10,
  PTRACE_O_TRACEVFORKDONE: 0x20,
  PTRACE_O_TRACEEXIT: 0x40,
  PTRACE_O_TRACESECCOMP: 0x80,
  PTRACE_O_EXITKILL: 0x100000,
  PTRACE_O_SUSPEND_SECCOMP: 0x200000,
  PTRACE_PEEKSIGINFO_SHARED: 0x1,
  PTRACE_SYSCALL_INFO_NONE: 0x0,
  PTRACE_SYSCALL_INFO_ENTRY: 0x1,
  PTRACE_SYSCALL_INFO_EXIT: 0x2,
  PTRACE_SYSCALL_INFO_SECCOMP: 0x3,
  ...NEWER_PTRACE,
} as const;

/** What waitpid(2) reports above the signal, in bits 16 to 23 of the status. */
export const EVENT = {
  PTRACE_EVENT_FORK: 1,
  PTRACE_EVENT_VFORK: 2,
  PTRACE_EVENT_CLONE: 3,
  PTRACE_EVENT_EXEC: 4,
  PTRACE_EVENT_VFORK_DONE: 5,
  PTRACE_EVENT_EXIT: 6,
  PTRACE_EVENT_SECCOMP: 7,
  PTRACE_EVENT_STOP: 128,
} as const;

/** Younger than the headers of some systems; each names the kernel and the header that brought it. */
const NEWER_NT = {
  /** Linux 6.6, linux/elf.h */
  NT_X86_SHSTK: 0x204,
} as const;

/** Register sets for PTRACE_GETREGSET, which are ELF note types. */
export const NT = {
  NT_PRSTATUS: 0x1,
  NT_PRFPREG: 0x2,
  NT_PRPSINFO: 0x3,
  NT_AUXV: 0x6,
  NT_386_TLS: 0x200,
  NT_386_IOPERM: 0x201,
  NT_X86_XSTATE: 0x202,
  ...NEWER_NT,
} as const;

/** Ways of calling the kernel, as PTRACE_GET_SYSCALL_INFO tells them (linux/audit.h). */
export const AUDIT_ARCH = {
  AUDIT_ARCH_I386: 0x40000003,
  AUDIT_ARCH_X86_64: 0xc000003e,
} as const;

export const ptraceAbi = defineAbi({
  headers: ['sys/ptrace.h', 'elf.h', 'sys/user.h', 'linux/audit.h'],
  constants: { ...PTRACE, ...EVENT, ...NT, ...AUDIT_ARCH },
  unlisted: { ...NEWER_PTRACE, ...NEWER_NT },
  structs: {
    user_regs_struct: {
      size: 216,
      fields: {
        r15: [0, 'u64'],
        r14: [8, 'u64'],
        r13: [16, 'u64'],
        r12: [24, 'u64'],
        rbp: [32, 'u64'],
        rbx: [40, 'u64'],
        r11: [48, 'u64'],
        r10: [56, 'u64'],
        r9: [64, 'u64'],
        r8: [72, 'u64'],
        rax: [80, 'u64'],
        rcx: [88, 'u64'],
        rdx: [96, 'u64'],
        rsi: [104, 'u64'],
        rdi: [112, 'u64'],
        orig_rax: [120, 'u64'],
        rip: [128, 'u64'],
        cs: [136, 'u64'],
        eflags: [144, 'u64'],
        rsp: [152, 'u64'],
        ss: [160, 'u64'],
        fs_base: [168, 'u64'],
        gs_base: [176, 'u64'],
        ds: [184, 'u64'],
        es: [192, 'u64'],
        fs: [200, 'u64'],
        gs: [208, 'u64'],
      },
    },
    /** What PTRACE_PEEKUSER and PTRACE_POKEUSER address by offset. */
    user: {
      size: 912,
      fields: {
        regs: [0, bytes(216)],
        u_debugreg: [848, bytes(64)],
      },
    },
    ptrace_rseq_configuration: {
      cType: 'struct __ptrace_rseq_configuration',
      size: 24,
      fields: {
        rseq_abi_pointer: [0, 'addr'],
        rseq_abi_size: [8, 'u32'],
        signature: [12, 'u32'],
        flags: [16, 'u32'],
        pad: [20, 'u32'],
      },
    },
    ptrace_peeksiginfo_args: {
      cType: 'struct __ptrace_peeksiginfo_args',
      size: 16,
      fields: {
        off: [0, 'u64'],
        flags: [8, 'u32'],
        nr: [12, 'i32'],
      },
    },
    /** Linux 6.4, linux/ptrace.h. */
    ptrace_sud_config: {
      guard: 'PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG',
      definition: 'struct ptrace_sud_config { unsigned long mode, selector, offset, len; };',
      size: 32,
      fields: {
        mode: [0, 'u64'],
        selector: [8, 'addr'],
        offset: [16, 'addr'],
        len: [24, 'addr'],
      },
    },
  },
});

/** The signal of a system call stop under PTRACE_O_TRACESYSGOOD: SIGTRAP with bit 7. */
export const PTRACE_SYSGOOD_SIGNAL = 0x85;

/** Where the debug registers begin in struct user (offsetof u_debugreg), 8 bytes each, for PTRACE_PEEKUSER. */
export const DEBUG_REGISTERS_OFFSET = 848;
