/**
 * Programs of bpf(2) that are run once by a call of ours, and answer in their argument: BPF_PROG_TYPE_SYSCALL (Linux 5.14). For CAP_BPF and
 * CAP_PERFMON, and not where the kernel is locked down for confidentiality (kernel_lockdown(7)).
 */
import type { LocalFd } from '../../support/brand.ts';
import { BPF_CALL } from '../abi/bpf.ts';
import { SYS } from '../abi/syscall.ts';
import { isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';

/** Instructions of linux/bpf.h and linux/bpf_common.h: opcode, registers (destination, source), offset, immediate. */
export type Instruction = readonly [
  opcode: number,
  destination: number,
  source: number,
  offset: number,
  immediate: number,
];

/** Opcodes; FRAME is the register that points behind the stack. */
export const BPF_CODE = {
  MOVE: 0xbf,
  MOVE_NUMBER: 0xb7,
  ADD: 0x0f,
  ADD_NUMBER: 0x07,
  LOAD_8: 0x79,
  LOAD_4: 0x61,
  STORE_8: 0x7b,
  STORE_NUMBER_8: 0x7a,
  JUMP_IF_ZERO: 0x15,
  JUMP_IF_ABOVE: 0x25,
  JUMP_UNLESS_ZERO: 0x55,
  CALL: 0x85,
  EXIT: 0x95,
  FRAME: 10,
  LOAD_NUMBER: 0x18,
} as const;

const INSTRUCTION_SIZE = 8;
const ATTRIBUTES_SIZE = 128;

/** bpf_probe_read_kernel() is for programs under a licence that the kernel takes as its own: ours is offered under this one too. */
const LICENCE = 'Dual MIT/GPL\0';

export class BpfProgram {
  readonly #program: OwnedFd;

  private constructor(program: OwnedFd) {
    this.#program = program;
  }

  get number(): LocalFd {
    return this.#program.number;
  }

  /** One that is run by {@link tryRun}. Undefined where we may not, or the kernel does not know such programs. */
  static tryLoad(instructions: readonly Instruction[]): BpfProgram | undefined {
    return BpfProgram.#load(instructions, (attributes) => {
      attributes.setUint32(0, BPF_CALL.BPF_PROG_TYPE_SYSCALL, true);
      attributes.setUint32(44, BPF_CALL.BPF_F_SLEEPABLE, true);
    });
  }

  /** One that the kernel runs for each of its objects; `iterator`: the number of the function in its type information that does. */
  static tryLoadIterator(instructions: readonly Instruction[], iterator: number): BpfProgram | undefined {
    return BpfProgram.#load(instructions, (attributes) => {
      attributes.setUint32(0, BPF_CALL.BPF_PROG_TYPE_TRACING, true);
      attributes.setUint32(68, BPF_CALL.BPF_TRACE_ITER, true);
      attributes.setUint32(108, iterator, true);
    });
  }

  static #load(instructions: readonly Instruction[], fill: (attributes: DataView) => void): BpfProgram | undefined {
    newCall();
    const code = scratch(instructions.length * INSTRUCTION_SIZE);
    instructions.forEach(([opcode, destination, source, offset, immediate], index) => {
      const at = index * INSTRUCTION_SIZE;
      code.view.setUint8(at, opcode);
      code.view.setUint8(at + 1, (source << 4) | destination);
      code.view.setInt16(at + 2, offset, true);
      code.view.setInt32(at + 4, immediate, true);
    });
    const licence = scratch(LICENCE.length);
    licence.bytes.write(LICENCE);
    const attributes = scratch(ATTRIBUTES_SIZE);
    attributes.view.setUint32(4, instructions.length, true);
    attributes.view.setBigUint64(8, BigInt(code.address), true);
    attributes.view.setBigUint64(16, BigInt(licence.address), true);
    fill(attributes.view);
    const fd = rawSyscall(SYS.bpf, BPF_CALL.BPF_PROG_LOAD, attributes.address, ATTRIBUTES_SIZE);
    return isFailure(fd) ? undefined : new BpfProgram(new OwnedFd(fd));
  }

  /** What it returns, 32 bits; undefined if it could not be run. `argument`, in our {@link scratch} memory, is what it reads and writes. */
  tryRun(argument: { readonly address: number; readonly sizeBytes: number }): number | undefined {
    const attributes = scratch(ATTRIBUTES_SIZE);
    attributes.view.setUint32(0, this.#program.number, true);
    attributes.view.setUint32(40, argument.sizeBytes, true);
    attributes.view.setBigUint64(48, BigInt(argument.address), true);
    const ran = rawSyscall(SYS.bpf, BPF_CALL.BPF_PROG_TEST_RUN, attributes.address, ATTRIBUTES_SIZE);
    return isFailure(ran) ? undefined : attributes.view.getUint32(4, true);
  }

  close(): void {
    this.#program.close();
  }
}
