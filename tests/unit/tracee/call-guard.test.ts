/** What a guard says of calls under filters as sandboxes have them. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { I386_CALL } from '../../../src/arch/x86/machine-code.ts';
import { ERRNO } from '../../../src/kernel/abi/errno.ts';
import { AUDIT_ARCH } from '../../../src/kernel/abi/ptrace.ts';
import { BPF, SECCOMP } from '../../../src/kernel/abi/seccomp.ts';
import { SYS, syscallName } from '../../../src/kernel/abi/syscall.ts';
import { SYS_I386 } from '../../../src/kernel/abi/syscall-i386.ts';
import { CallGuard } from '../../../src/tracee/call-guard.ts';
import { forbiddenToAgent, forbiddenToSnapshot, forbiddenToThread } from '../../../src/tracee/own-calls.ts';

const { SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_TRAP } = SECCOMP;
const { SECCOMP_RET_TRACE, SECCOMP_RET_LOG, SECCOMP_RET_USER_NOTIF, SECCOMP_RET_KILL_THREAD } = SECCOMP;
const { BPF_LD, BPF_ABS, BPF_ALU, BPF_AND, BPF_JMP, BPF_JEQ, BPF_RET, BPF_A } = BPF;

const NUMBER = 0;
const ARCHITECTURE = 4;
const FIRST_ARGUMENT = 16;
const EPERM = SECCOMP_RET_ERRNO | ERRNO.EPERM;

const filter = (...instructions: readonly (readonly [code: number, k: number, jt?: number, jf?: number])[]) => {
  const program = Buffer.alloc(instructions.length * 8);
  for (const [index, [code, k, jumpTrue = 0, jumpFalse = 0]] of instructions.entries()) {
    program.writeUInt16LE(code, index * 8);
    program.set([jumpTrue, jumpFalse], index * 8 + 2);
    program.writeUInt32LE(k, index * 8 + 4);
  }
  return { program, log: false };
};

const always = (answer: number) => filter([BPF_RET, answer]);
/** A word of the call decides. */
const where = (offset: number, value: number, answer: number, otherwise: number) =>
  filter([BPF_LD | BPF_ABS, offset], [BPF_JMP | BPF_JEQ, value, 0, 1], [BPF_RET, answer], [BPF_RET, otherwise]);

const close = { number: SYS.close, args: [3] };
const treated = (...filters: ReturnType<typeof filter>[]) => new CallGuard(filters).treatmentOf(close);

describe('a call of ours under seccomp filters', () => {
  it.each([
    ['made', SECCOMP_RET_ALLOW],
    ['made', SECCOMP_RET_LOG],
    ['answered', EPERM],
    ['answered', SECCOMP_RET_TRACE],
    ['harmful', SECCOMP_RET_TRAP],
    ['harmful', SECCOMP_RET_KILL_PROCESS],
    ['harmful', SECCOMP_RET_KILL_THREAD],
    ['harmful', SECCOMP_RET_USER_NOTIF],
    // What no kernel knows kills.
    ['harmful', 0x1234_0000],
    // A success that is none, and what our code would repeat for ever.
    ['harmful', SECCOMP_RET_ERRNO],
    ['harmful', SECCOMP_RET_ERRNO | ERRNO.EINTR],
    ['harmful', SECCOMP_RET_ERRNO | 512],
  ])('is %s where the answer is %i', (treatment, answer) => {
    expect(treated(always(answer))).toBe(treatment);
  });

  it('is treated as by the strictest of them', () => {
    expect(treated(always(SECCOMP_RET_ALLOW), always(EPERM))).toBe('answered');
    expect(treated(always(EPERM), always(SECCOMP_RET_ALLOW))).toBe('answered');
    expect(treated(always(EPERM), always(SECCOMP_RET_KILL_PROCESS))).toBe('harmful');
  });

  it('is told from others by its number, its architecture and what is known of its arguments', () => {
    const { AUDIT_ARCH_I386, AUDIT_ARCH_X86_64 } = AUDIT_ARCH;
    expect(treated(where(NUMBER, SYS.close, SECCOMP_RET_ALLOW, EPERM))).toBe('made');
    expect(treated(where(NUMBER, SYS.read, SECCOMP_RET_ALLOW, EPERM))).toBe('answered');
    expect(treated(where(ARCHITECTURE, AUDIT_ARCH_X86_64, SECCOMP_RET_ALLOW, EPERM))).toBe('made');
    expect(treated(where(ARCHITECTURE, AUDIT_ARCH_I386, SECCOMP_RET_ALLOW, EPERM))).toBe('answered');
    expect(treated(where(FIRST_ARGUMENT, 3, SECCOMP_RET_ALLOW, EPERM))).toBe('made');
    const guard = new CallGuard([where(FIRST_ARGUMENT, 3, SECCOMP_RET_ALLOW, EPERM)]);
    expect(guard.treatmentOf({ number: SYS.close, args: [undefined] })).toBe('answered');
    const ofI386 = { number: I386_CALL + SYS_I386.get_robust_list, args: [0] };
    expect(new CallGuard([where(ARCHITECTURE, AUDIT_ARCH_I386, SECCOMP_RET_ALLOW, EPERM)]).treatmentOf(ofI386)).toBe(
      'made',
    );
  });

  it('is harmful where the answer is made from what is not known', () => {
    const echo = filter([BPF_LD | BPF_ABS, FIRST_ARGUMENT], [BPF_RET | BPF_A, 0]);
    expect(new CallGuard([echo]).treatmentOf({ number: SYS.close, args: [] })).toBe('harmful');
    expect(new CallGuard([echo]).treatmentOf({ number: SYS.close, args: [SECCOMP_RET_ALLOW] })).toBe('made');
  });

  it('is refused by name with all others that are harmful', () => {
    const guard = new CallGuard([where(NUMBER, SYS.close, SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP)]);
    const calls = [SYS.munmap, SYS.close, SYS.personality, SYS.munmap].map((number) => ({ number, args: [] }));
    expect(() => guard.refuseHarmful(7, calls)).toThrow(/thread 7 .*\(munmap, personality\)/);
    expect(() => guard.refuseHarmful(7, [close])).not.toThrow();
  });
});

describe('a supervisor', () => {
  it('is expected where a filter may ask one, or where that cannot be told', () => {
    const asks = (...filters: ReturnType<typeof filter>[]): boolean => new CallGuard(filters).mayAskSupervisor();
    expect(asks(always(EPERM), where(NUMBER, SYS.mount, SECCOMP_RET_USER_NOTIF, SECCOMP_RET_ALLOW))).toBe(true);
    expect(asks(where(NUMBER, SYS.mount, SECCOMP_RET_TRACE, SECCOMP_RET_ALLOW))).toBe(false);
    const masked = [BPF_ALU | BPF_AND, 0xffff] as const;
    expect(asks(filter([BPF_LD | BPF_ABS, NUMBER], masked, [BPF_RET | BPF_A, 0]))).toBe(true);
  });
});

describe('the calls that our code makes by itself', () => {
  const source = readFileSync(fileURLToPath(new URL('../../../src/arch/x86/machine-code.S', import.meta.url)), 'utf8');
  const inSource = Array.from(source.matchAll(/mov\s+eax, (\d+)/g), ([, number]) => syscallName(Number(number)));
  const killed = new CallGuard([always(SECCOMP_RET_KILL_PROCESS)]);

  it('are all of machine-code.S, but for the rest of a snapshot, which ends with us', () => {
    const known = [...forbiddenToAgent(killed), ...forbiddenToSnapshot(killed)];
    expect(new Set([...known, 'pause'])).toEqual(new Set([...inSource, 'mmap', 'socketpair']));
  });

  it('are those that must be made, and those that may fail', () => {
    const refused = new CallGuard([always(EPERM)]);
    expect(forbiddenToThread(refused)).toEqual(['rt_sigprocmask']);
    expect(forbiddenToAgent(refused)).toEqual(['rt_sigprocmask', 'close', 'munmap']);
    expect(forbiddenToSnapshot(refused)).toEqual(['wait4', 'exit', 'exit_group']);
    expect(forbiddenToAgent(new CallGuard([always(SECCOMP_RET_LOG)]))).toEqual([]);
  });
});
