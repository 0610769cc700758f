/**
 * What a seccomp filter may answer to a system call: an interpreter of its classic BPF program (seccomp(2); Documentation/networking/filter.rst
 * of the kernel), for calls of which some arguments are not known.
 *
 * Classic BPF only jumps forward. So the program is gone through once: each instruction has the state in which it may be reached, and where
 * two ways meet, what differs between them is not known any more. What comes out is never less than what the kernel may answer.
 */
import { BPF, SECCOMP } from '../kernel/abi/seccomp.ts';

/** struct seccomp_data. Undefined: any value. */
export interface FilteredCall {
  readonly number: number | undefined;
  /** A value of AUDIT_ARCH. */
  readonly architecture: number | undefined;
  /** Where the call is made. */
  readonly instructionPointer?: bigint;
  /** Up to six, each of 64 bits; those that are left out may be anything. */
  readonly args: readonly (bigint | undefined)[];
}

/** What a filter returns, as an unsigned number; `any`: it comes from the call, in a way that is not known. */
export type FilterAnswer = number | 'any';

/** 32 bits; undefined: not known. */
type Word = number | undefined;

interface State {
  a: Word;
  x: Word;
  readonly memory: Word[];
}

interface Instruction {
  readonly code: number;
  readonly jumpTrue: number;
  readonly jumpFalse: number;
  readonly k: number;
}

/** sizeof(struct sock_filter). */
export const INSTRUCTION_SIZE = 8;
/** sizeof(struct seccomp_data). */
const DATA_SIZE = 64;
const CLASS = 0x07;
const OPERATION = 0xf0;

/** `program` is an array of struct sock_filter. */
export function possibleAnswers(program: Uint8Array, call: FilteredCall): ReadonlySet<FilterAnswer> {
  const instructions = decode(program);
  const data = wordsOf(call);
  const answers = new Set<FilterAnswer>();
  const reached: (State | undefined)[] = [];
  reached[0] = { a: 0, x: 0, memory: new Array<Word>(BPF.BPF_MEMWORDS).fill(undefined) };
  for (const [index, instruction] of instructions.entries()) {
    const state = reached[index];
    if (state === undefined) continue;
    if ((instruction.code & CLASS) === BPF.BPF_RET) {
      answers.add(returned(instruction, state));
      continue;
    }
    const isJump = (instruction.code & CLASS) === BPF.BPF_JMP;
    for (const step of isJump ? stepsOf(instruction, state) : carryOut(instruction, state, data, answers)) {
      const next = index + 1 + step;
      // No kernel takes a program that goes on behind its end, or has an instruction that is not known here.
      if (!(next < instructions.length)) return new Set(['any']);
      reached[next] = joined(reached[next], state);
    }
  }
  return answers;
}

/** Steps of an instruction that is no jump: to the next one; to none, from one that ends the program; to nowhere, from one that filters do not have. */
const NEXT = [0];
const END: readonly number[] = [];
const NOWHERE = [Number.POSITIVE_INFINITY];

function decode(program: Uint8Array): Instruction[] {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  return Array.from({ length: Math.floor(program.length / INSTRUCTION_SIZE) }, (_, index) => ({
    code: view.getUint16(index * INSTRUCTION_SIZE, true),
    jumpTrue: view.getUint8(index * INSTRUCTION_SIZE + 2),
    jumpFalse: view.getUint8(index * INSTRUCTION_SIZE + 3),
    k: view.getUint32(index * INSTRUCTION_SIZE + 4, true),
  }));
}

function wordsOf({ number, architecture, instructionPointer, args }: FilteredCall): Word[] {
  const halves = (value: bigint | undefined): Word[] =>
    value === undefined
      ? [undefined, undefined]
      : [Number(value & 0xffff_ffffn), Number((value >> 32n) & 0xffff_ffffn)];
  const six = [0, 1, 2, 3, 4, 5].flatMap((index) => halves(args[index]));
  return [number, architecture, ...halves(instructionPointer), ...six];
}

function returned({ code, k }: Instruction, { a }: State): FilterAnswer {
  return (code & 0x18) === BPF.BPF_A ? (a ?? 'any') : k;
}

/** How many instructions are passed over: one number if the way is known, else both. */
function stepsOf({ code, jumpTrue, jumpFalse, k }: Instruction, { a, x }: State): number[] {
  const operation = code & OPERATION;
  if (operation === BPF.BPF_JA) return [k];
  const right = (code & BPF.BPF_X) === 0 ? k : x;
  if (a === undefined || right === undefined) return [jumpTrue, jumpFalse];
  return [compare(operation, a, right) ? jumpTrue : jumpFalse];
}

function compare(operation: number, left: number, right: number): boolean {
  if (operation === BPF.BPF_JEQ) return left === right;
  if (operation === BPF.BPF_JGT) return left > right;
  if (operation === BPF.BPF_JGE) return left >= right;
  return (left & right) !== 0;
}

/** Changes the state as the instruction does, which is no jump. Returns the steps from there. */
function carryOut(
  { code, k }: Instruction,
  state: State,
  data: readonly Word[],
  answers: Set<FilterAnswer>,
): readonly number[] {
  const { BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_ALU, BPF_MISC } = BPF;
  switch (code & CLASS) {
    case BPF_LD:
      state.a = loaded(code, k, state, data);
      return NEXT;
    case BPF_LDX:
      state.x = loaded(code, k, state, data);
      return NEXT;
    case BPF_ST:
      state.memory[k] = state.a;
      return NEXT;
    case BPF_STX:
      state.memory[k] = state.x;
      return NEXT;
    case BPF_MISC:
      if ((code & BPF.BPF_TXA) === 0) state.x = state.a;
      else state.a = state.x;
      return NEXT;
    default:
      return (code & CLASS) === BPF_ALU ? calculate(code, k, state, answers) : NOWHERE;
  }
}

function loaded(code: number, k: number, { memory }: State, data: readonly Word[]): Word {
  switch (code & 0xe0) {
    case BPF.BPF_IMM:
      return k;
    case BPF.BPF_LEN:
      return DATA_SIZE;
    case BPF.BPF_MEM:
      return memory[k];
    default:
      return data[k / 4];
  }
}

const CALCULATIONS = new Map<number, (a: number, b: number) => number>([
  [BPF.BPF_ADD, (a, b) => a + b],
  [BPF.BPF_SUB, (a, b) => a - b],
  [BPF.BPF_MUL, (a, b) => Math.imul(a, b)],
  [BPF.BPF_DIV, (a, b) => Math.floor(a / b)],
  [BPF.BPF_AND, (a, b) => a & b],
  [BPF.BPF_OR, (a, b) => a | b],
  [BPF.BPF_XOR, (a, b) => a ^ b],
  // As eBPF has it, into which the kernel translates the program: the lowest five bits of the right side.
  [BPF.BPF_LSH, (a, b) => a << b],
  [BPF.BPF_RSH, (a, b) => a >>> b],
]);

function calculate(code: number, k: number, state: State, answers: Set<FilterAnswer>): readonly number[] {
  const operation = code & OPERATION;
  if (operation === BPF.BPF_NEG) {
    state.a = state.a === undefined ? undefined : -state.a >>> 0;
    return NEXT;
  }
  const right = (code & BPF.BPF_X) === 0 ? k : state.x;
  if (operation === BPF.BPF_DIV && (right === undefined || right === 0)) {
    // A division by zero ends the program with 0 (net/core/filter.c, bpf_convert_filter).
    answers.add(SECCOMP.SECCOMP_RET_KILL_THREAD);
    state.a = undefined;
    return right === 0 ? END : NEXT;
  }
  const calculation = CALCULATIONS.get(operation);
  if (calculation === undefined) return NOWHERE;
  state.a = state.a === undefined || right === undefined ? undefined : calculation(state.a, right) >>> 0;
  return NEXT;
}

/** What is known in both. */
function joined(one: State | undefined, other: State): State {
  if (one === undefined) return { ...other, memory: [...other.memory] };
  const same = (left: Word, right: Word): Word => (left === right ? left : undefined);
  return {
    a: same(one.a, other.a),
    x: same(one.x, other.x),
    memory: one.memory.map((word, index) => same(word, other.memory[index])),
  };
}
