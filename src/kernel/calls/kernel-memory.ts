/**
 * Reading the kernel's own memory, for facts that no file and no call tells: what a descriptor's object has in it. Through a program of
 * bpf(2) (BPF_PROG_TYPE_SYSCALL, Linux 5.14) of our own that copies bytes and does nothing else. For CAP_BPF and CAP_PERFMON, and not where the kernel is
 * locked down for confidentiality (kernel_lockdown(7)).
 */
import { BPF_CALL } from '../abi/bpf.ts';
import { SYS } from '../abi/syscall.ts';
import { isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';

/** What one call copies at most: it goes over the program's stack, which has 512 bytes. */
const PIECE = 256;
const WORD = 8;

/** The argument: where to read, how much, and whether from our own task on; behind it what was read. */
const ARGUMENT_SIZE = 16 + PIECE;

/** Instructions of linux/bpf.h and linux/bpf_common.h: opcode, registers (destination, source), offset, immediate. */
type Instruction = readonly [opcode: number, destination: number, source: number, offset: number, immediate: number];

const MOVE = 0xbf;
const MOVE_NUMBER = 0xb7;
const ADD = 0x0f;
const ADD_NUMBER = 0x07;
const LOAD_8 = 0x79;
const LOAD_4 = 0x61;
const STORE_8 = 0x7b;
const STORE_NUMBER_8 = 0x7a;
const JUMP_IF_ZERO = 0x15;
const JUMP_IF_ABOVE = 0x25;
const CALL = 0x85;
const EXIT = 0x95;
const FRAME = 10;
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

const INSTRUCTION_SIZE = 8;
const ATTRIBUTES_SIZE = 128;

/** bpf_probe_read_kernel() is for programs under a licence that the kernel takes as its own: ours is offered under this one too. */
const LICENCE = 'Dual MIT/GPL\0';

export class KernelMemory {
  readonly #program: OwnedFd;

  private constructor(program: OwnedFd) {
    this.#program = program;
  }

  /** Undefined where we may not, or the kernel does not know such programs. */
  static tryOpen(): KernelMemory | undefined {
    newCall();
    const code = scratch(copyBytes.length * INSTRUCTION_SIZE);
    copyBytes.forEach(([opcode, destination, source, offset, immediate], index) => {
      const at = index * INSTRUCTION_SIZE;
      code.view.setUint8(at, opcode);
      code.view.setUint8(at + 1, (source << 4) | destination);
      code.view.setInt16(at + 2, offset, true);
      code.view.setInt32(at + 4, immediate, true);
    });
    const licence = scratch(LICENCE.length);
    licence.bytes.write(LICENCE);
    const attributes = scratch(ATTRIBUTES_SIZE);
    attributes.view.setUint32(0, BPF_CALL.BPF_PROG_TYPE_SYSCALL, true);
    attributes.view.setUint32(4, copyBytes.length, true);
    attributes.view.setBigUint64(8, BigInt(code.address), true);
    attributes.view.setBigUint64(16, BigInt(licence.address), true);
    attributes.view.setUint32(44, BPF_CALL.BPF_F_SLEEPABLE, true);
    const fd = rawSyscall(SYS.bpf, BPF_CALL.BPF_PROG_LOAD, attributes.address, ATTRIBUTES_SIZE);
    return isFailure(fd) ? undefined : new KernelMemory(new OwnedFd(fd));
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
      const attributes = scratch(ATTRIBUTES_SIZE);
      attributes.view.setUint32(0, this.#program.number, true);
      attributes.view.setUint32(40, ARGUMENT_SIZE, true);
      attributes.view.setBigUint64(48, BigInt(argument.address), true);
      const ran = rawSyscall(SYS.bpf, BPF_CALL.BPF_PROG_TEST_RUN, attributes.address, ATTRIBUTES_SIZE);
      if (isFailure(ran) || attributes.view.getUint32(4, true) !== 0) return undefined;
      argument.bytes.copy(result, done, 16, 16 + size);
    }
    return result;
  }
}
