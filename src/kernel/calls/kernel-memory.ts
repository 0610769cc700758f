/**
 * Reading the kernel's own memory, for facts that no file and no call tells: what a descriptor's object has in it. Through a program of
 * bpf(2) (BPF_PROG_TYPE_SYSCALL, Linux 5.14) of our own that copies bytes and does nothing else. For CAP_BPF and CAP_PERFMON, and not where the kernel is
 * locked down for confidentiality (kernel_lockdown(7)).
 */
import { BPF_CALL } from '../abi/bpf.ts';
import { newCall, scratch } from '../scratch.ts';
import { BPF_CODE, BpfProgram, type Instruction } from './bpf-program.ts';

/** What one call copies at most: it goes over the program's stack, which has 512 bytes. */
const PIECE = 256;
const WORD = 8;

/** The argument: where to read, how much, and whether from our own task on; behind it what was read. */
const ARGUMENT_SIZE = 16 + PIECE;

const {
  MOVE,
  MOVE_NUMBER,
  ADD,
  ADD_NUMBER,
  LOAD_8,
  LOAD_4,
  STORE_8,
  STORE_NUMBER_8,
  JUMP_IF_ZERO,
  JUMP_IF_ABOVE,
  JUMP_UNLESS_ZERO,
  CALL,
  EXIT,
  FRAME,
} = BPF_CODE;
const TOO_MUCH = -7;

/** The words of a piece. */
const words = Array.from({ length: PIECE / WORD }, (_, index) => index * WORD);

const copyBytes: readonly Instruction[] = [
  [MOVE, 6, 1, 0, 0],
  [LOAD_8, 7, 6, 0, 0],
  [LOAD_4, 8, 6, 8, 0],
  [LOAD_4, 1, 6, 12, 0],
  [JUMP_IF_ZERO, 1, 0, 2, 0],
  [CALL, 0, 0, 0, BPF_CALL.BPF_FUNC_get_current_task],
  [ADD, 7, 0, 0, 0],
  ...words.map((at): Instruction => [STORE_NUMBER_8, FRAME, 0, at - PIECE, 0]),
  [MOVE_NUMBER, 0, 0, 0, TOO_MUCH],
  [JUMP_IF_ABOVE, 8, 0, 5 + 2 * words.length, PIECE],
  [MOVE, 1, FRAME, 0, 0],
  [ADD_NUMBER, 1, 0, 0, -PIECE],
  [MOVE, 2, 8, 0, 0],
  [MOVE, 3, 7, 0, 0],
  [CALL, 0, 0, 0, BPF_CALL.BPF_FUNC_probe_read_kernel],
  ...words.flatMap((at): Instruction[] => [
    [LOAD_8, 1, FRAME, at - PIECE, 0],
    [STORE_8, 6, 1, 16 + at, 0],
  ]),
  [EXIT, 0, 0, 0, 0],
];

/** So many words, each from anywhere, in one call. */
const MOST_WORDS = 16;
const PER_WORD = 9;

/** Puts what is at each address behind the head of the argument in its place, up to the first that is zero. */
const copyWords: readonly Instruction[] = [
  [MOVE, 6, 1, 0, 0],
  [MOVE_NUMBER, 0, 0, 0, 0],
  ...Array.from({ length: MOST_WORDS }, (_, index): Instruction[] => {
    const [at, rest] = [16 + WORD * index, PER_WORD * (MOST_WORDS - index)];
    return [
      [LOAD_8, 3, 6, at, 0],
      [JUMP_IF_ZERO, 3, 0, rest - 2, 0],
      [MOVE, 1, FRAME, 0, 0],
      [ADD_NUMBER, 1, 0, 0, -WORD],
      [MOVE_NUMBER, 2, 0, 0, WORD],
      [CALL, 0, 0, 0, BPF_CALL.BPF_FUNC_probe_read_kernel],
      [JUMP_UNLESS_ZERO, 0, 0, rest - 7, 0],
      [LOAD_8, 1, FRAME, -WORD, 0],
      [STORE_8, 6, 1, at, 0],
    ];
  }).flat(),
  [EXIT, 0, 0, 0, 0],
];

/** A symbol's name is shorter (KSYM_NAME_LEN is 512, but none that is asked for here). */
const NAME_SIZE = 64;
const nameWords = Array.from({ length: NAME_SIZE / WORD }, (_, index) => index * WORD);

/** Puts the address of the symbol whose name is behind the head of the argument into its first word: kallsyms, Linux 5.16. */
const lookUpName: readonly Instruction[] = [
  [MOVE, 6, 1, 0, 0],
  ...nameWords.flatMap((at): Instruction[] => [
    [LOAD_8, 1, 6, 16 + at, 0],
    [STORE_8, FRAME, 1, at - NAME_SIZE, 0],
  ]),
  [STORE_NUMBER_8, FRAME, 0, -NAME_SIZE - WORD, 0],
  [MOVE, 1, FRAME, 0, 0],
  [ADD_NUMBER, 1, 0, 0, -NAME_SIZE],
  [MOVE_NUMBER, 2, 0, 0, NAME_SIZE],
  [MOVE_NUMBER, 3, 0, 0, 0],
  [MOVE, 4, FRAME, 0, 0],
  [ADD_NUMBER, 4, 0, 0, -NAME_SIZE - WORD],
  [CALL, 0, 0, 0, BPF_CALL.BPF_FUNC_kallsyms_lookup_name],
  [LOAD_8, 1, FRAME, -NAME_SIZE - WORD, 0],
  [STORE_8, 6, 1, 0, 0],
  [EXIT, 0, 0, 0, 0],
];

export class KernelMemory {
  readonly #program: BpfProgram;
  #words: BpfProgram | undefined;

  private constructor(program: BpfProgram) {
    this.#program = program;
  }

  /** Undefined where we may not, or the kernel does not know such programs. */
  static tryOpen(): KernelMemory | undefined {
    const program = BpfProgram.tryLoad(copyBytes);
    return program && new KernelMemory(program);
  }

  /**
   * Where a symbol of the kernel is. Undefined if it has none of that name, does not tell it to us (CAP_SYSLOG), or tells of functions only
   * (without CONFIG_KALLSYMS_ALL).
   */
  tryAddressOf(symbol: string): bigint | undefined {
    const program = symbol.length < NAME_SIZE ? BpfProgram.tryLoad(lookUpName) : undefined;
    if (program === undefined) return undefined;
    try {
      newCall();
      const argument = scratch(ARGUMENT_SIZE);
      argument.bytes.write(symbol, 16, 'latin1');
      const ran = program.tryRun({ address: argument.address, sizeBytes: ARGUMENT_SIZE });
      const address = ran === 0 ? argument.view.getBigUint64(0, true) : 0n;
      return address === 0n ? undefined : address;
    } finally {
      program.close();
    }
  }

  /** Words of 64 bits, at most {@link MOST_WORDS}. Undefined if there is no memory at one of the addresses. */
  tryReadWords(addresses: readonly bigint[]): bigint[] | undefined {
    this.#words ??= BpfProgram.tryLoad(copyWords);
    if (this.#words === undefined || addresses.includes(0n)) return undefined;
    newCall();
    const argument = scratch(ARGUMENT_SIZE);
    addresses.forEach((address, index) => {
      argument.view.setBigUint64(16 + WORD * index, address, true);
    });
    if (this.#words.tryRun({ address: argument.address, sizeBytes: ARGUMENT_SIZE }) !== 0) return undefined;
    return addresses.map((_, index) => argument.view.getBigUint64(16 + WORD * index, true));
  }

  /** Undefined if there is no memory at that address. */
  tryRead(address: bigint, sizeBytes: number): Buffer | undefined {
    return this.#read(address, sizeBytes, false);
  }

  /** So many bytes behind the beginning of our thread's task_struct. */
  tryReadOfOwnTask(offset: number, sizeBytes: number): Buffer | undefined {
    return this.#read(BigInt(offset), sizeBytes, true);
  }

  close(): void {
    this.#words?.close();
    this.#program.close();
  }

  #read(address: bigint, sizeBytes: number, ofOwnTask: boolean): Buffer | undefined {
    const result = Buffer.alloc(sizeBytes);
    for (let done = 0; done < sizeBytes; done += PIECE) {
      newCall();
      const size = Math.min(PIECE, sizeBytes - done);
      const argument = scratch(ARGUMENT_SIZE);
      argument.view.setBigUint64(0, address + BigInt(done), true);
      argument.view.setUint32(8, size, true);
      argument.view.setUint32(12, ofOwnTask ? 1 : 0, true);
      if (this.#program.tryRun({ address: argument.address, sizeBytes: ARGUMENT_SIZE }) !== 0) return undefined;
      argument.bytes.copy(result, done, 16, 16 + size);
    }
    return result;
  }
}
