/** The interpreter of seccomp filters against the kernel: random programs, and what a process under each of them gets for random calls. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../src/kernel/abi/errno.ts';
import { AUDIT_ARCH } from '../../src/kernel/abi/ptrace.ts';
import { BPF, SECCOMP } from '../../src/kernel/abi/seccomp.ts';
import { type FilterAnswer, possibleAnswers } from '../../src/tracee/seccomp-program.ts';
import { hasCompiler } from './c-program.ts';

const PROGRAMS = 60;
const CALLS = 60;
/** All numbers from here on are unknown to any kernel: a call that is allowed gives ENOSYS. */
const FIRST_NUMBER = 600;

/** xorshift32: the same numbers in every run. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

type Random = ReturnType<typeof randomFrom>;
type Instruction = readonly [code: number, k: number, jumpTrue?: number, jumpFalse?: number];

const pick = <T>(random: Random, values: readonly T[]): T => values[random(values.length)] as T;

/** Numbers that meet each other often. */
const word = (random: Random): number =>
  pick(random, [
    () => random(4),
    () => FIRST_NUMBER + random(8),
    () => random(2 ** 32),
    () => 2 ** 32 - 1 - random(3),
  ])();

const ANSWERS = [
  SECCOMP.SECCOMP_RET_ALLOW,
  SECCOMP.SECCOMP_RET_TRACE,
  SECCOMP.SECCOMP_RET_USER_NOTIF,
  SECCOMP.SECCOMP_RET_TRAP,
  SECCOMP.SECCOMP_RET_ERRNO,
  SECCOMP.SECCOMP_RET_ERRNO,
  SECCOMP.SECCOMP_RET_ERRNO,
  SECCOMP.SECCOMP_RET_KILL_PROCESS,
  SECCOMP.SECCOMP_RET_KILL_THREAD,
  0x1234_0000,
];

const { BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_ALU, BPF_JMP, BPF_RET, BPF_MISC, BPF_ABS, BPF_MEM, BPF_LEN } = BPF;
const { BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_AND, BPF_OR, BPF_XOR, BPF_LSH, BPF_RSH, BPF_NEG } = BPF;
const { BPF_JA, BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET, BPF_X, BPF_A, BPF_TXA, BPF_MEMWORDS } = BPF;

/** Offsets in struct seccomp_data of what the test knows: not where the call is made. */
const KNOWN_OFFSETS = [0, 4, ...Array.from({ length: 12 }, (_, index) => 16 + index * 4)];
const CALCULATIONS = [BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_AND, BPF_OR, BPF_XOR, BPF_LSH, BPF_RSH];

/** One that the kernel takes, with `left` more behind it. */
function instruction(random: Random, left: number): Instruction {
  const jump = (): number => random(Math.min(left, 8));
  const kinds: (() => Instruction)[] = [
    () => [BPF_LD | BPF_ABS, pick(random, KNOWN_OFFSETS)],
    () => [BPF_LD | BPF_ABS, pick(random, KNOWN_OFFSETS)],
    () => [pick(random, [BPF_LD, BPF_LDX]), word(random)],
    () => [pick(random, [BPF_LD, BPF_LDX]) | BPF_LEN, 0],
    () => [pick(random, [BPF_LD, BPF_LDX]) | BPF_MEM, random(BPF_MEMWORDS)],
    () => [pick(random, [BPF_ST, BPF_STX]), random(BPF_MEMWORDS)],
    () => [BPF_MISC | pick(random, [0, BPF_TXA]), 0],
    () => [BPF_ALU | pick(random, CALCULATIONS) | BPF_X, 0],
    () => [BPF_ALU | pick(random, [BPF_LSH, BPF_RSH]), random(32)],
    () => [BPF_ALU | pick(random, CALCULATIONS.slice(0, 7)), Math.max(1, word(random))],
    () => [BPF_ALU | BPF_NEG, 0],
    () => [BPF_JMP | BPF_JA, jump()],
    () => [BPF_JMP | pick(random, [BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET]), word(random), jump(), jump()],
    () => [BPF_JMP | BPF_X | pick(random, [BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET]), 0, jump(), jump()],
  ];
  if (random(40) === 0) return [BPF_RET, (pick(random, ANSWERS) | random(2 ** 16)) >>> 0];
  return pick(random, kinds)();
}

function encoded(instructions: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(instructions.length * 8);
  for (const [index, [code, k, jumpTrue = 0, jumpFalse = 0]] of instructions.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes[index * 8 + 2] = jumpTrue;
    bytes[index * 8 + 3] = jumpFalse;
    bytes.writeUInt32LE(k, index * 8 + 4);
  }
  return bytes;
}

/**
 * Calls below FIRST_NUMBER are allowed, all words of its memory are filled, and something random follows, the outcome of which is in the answer.
 */
function program(random: Random): Buffer {
  const length = 8 + random(40);
  const body = Array.from({ length }, (_, index) => instruction(random, length - index));
  const stores = Array.from({ length: BPF_MEMWORDS }, (_, index): Instruction => [BPF_ST, index]);
  return encoded([
    [BPF_LD | BPF_ABS, 0],
    [BPF_JMP | BPF_JGE, FIRST_NUMBER, 1, 0],
    [BPF_RET, SECCOMP.SECCOMP_RET_ALLOW],
    ...stores,
    ...body,
    [BPF_ALU | BPF_AND, 0xfff],
    [BPF_ALU | BPF_OR, pick(random, ANSWERS)],
    [BPF_RET | BPF_A, 0],
  ]);
}

interface Call {
  readonly number: number;
  readonly args: readonly bigint[];
}

const call = (random: Random): Call => ({
  number: FIRST_NUMBER + random(8),
  args: Array.from({ length: 6 }, () => (BigInt(word(random)) << 32n) | BigInt(word(random))),
});

/** What a program gets for a call that is answered so, as filter-oracle.c tells it. */
function outcomeOf(answer: FilterAnswer): number {
  if (answer === 'any') return -1;
  const data = answer & SECCOMP.SECCOMP_RET_DATA;
  switch ((answer & SECCOMP.SECCOMP_RET_ACTION_FULL) >>> 0) {
    case SECCOMP.SECCOMP_RET_ERRNO:
      return Math.min(data, 4095);
    case SECCOMP.SECCOMP_RET_TRAP:
      return 100_000 + data;
    case SECCOMP.SECCOMP_RET_ALLOW:
    case SECCOMP.SECCOMP_RET_LOG:
    case SECCOMP.SECCOMP_RET_TRACE:
    case SECCOMP.SECCOMP_RET_USER_NOTIF:
      return ERRNO.ENOSYS;
    default:
      return 200_000 + 31;
  }
}

function answersOfKernel(programs: readonly Buffer[], calls: readonly (readonly Call[])[]): number[] {
  const folder = mkdtempSync(join(tmpdir(), 'quicksave-seccomp-'));
  try {
    const oracle = join(folder, 'oracle');
    const source = fileURLToPath(new URL('../programs/filter-oracle.c', import.meta.url));
    execFileSync('gcc', ['-O1', '-Wall', '-Wextra', '-Werror', source, '-o', oracle]);
    const words = [BigInt(programs.length)];
    for (const [index, bytes] of programs.entries()) {
      words.push(BigInt(bytes.length / 8));
      for (let at = 0; at < bytes.length; at += 8) words.push(bytes.readBigUInt64LE(at));
      const asked = calls[index] ?? [];
      words.push(BigInt(asked.length), ...asked.flatMap(({ number, args }) => [BigInt(number), ...args]));
    }
    const input = Buffer.from(BigUint64Array.from(words).buffer);
    return execFileSync(oracle, { input, encoding: 'utf8' }).trimEnd().split('\n').map(Number);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe.skipIf(!hasCompiler())('the interpreter of seccomp filters', () => {
  const random = randomFrom(20081016);
  const programs = Array.from({ length: PROGRAMS }, () => program(random));
  const calls = programs.map(() => Array.from({ length: CALLS }, () => call(random)));
  const architecture = AUDIT_ARCH.AUDIT_ARCH_X86_64;

  it('answers as the kernel does, whatever the program and the call', () => {
    const kernel = answersOfKernel(programs, calls);
    expect(kernel.length).toBe(PROGRAMS * CALLS);
    const ours = programs.flatMap((bytes, index) =>
      (calls[index] ?? []).map((one) => Array.from(possibleAnswers(bytes, { architecture, ...one }), outcomeOf)),
    );
    expect(ours).toEqual(kernel.map((outcome) => [outcome]));
    expect(new Set(kernel).size).toBeGreaterThan(100);
  });

  it('leaves no answer out when it does not know all of the call', () => {
    for (const [index, bytes] of programs.entries()) {
      for (const one of calls[index] ?? []) {
        const [answer] = possibleAnswers(bytes, { architecture, ...one });
        const known = random(2 ** 6);
        const args = one.args.map((value, at) => ((known >> at) & 1 ? value : undefined));
        const number = random(2) === 0 ? one.number : undefined;
        const possible = possibleAnswers(bytes, { architecture: undefined, number, args });
        expect(possible.has('any') || (answer !== undefined && possible.has(answer))).toBe(true);
      }
    }
  });
});
