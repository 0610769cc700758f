/**
 * Where the kernel has what each processor has of its own (`__percpu`): the same distance behind a common place for all such things, which no file tells. A map
 * of bpf(2) is one of them (BPF_MAP_TYPE_PERCPU_ARRAY), and a program may ask where each processor's value of it is
 * (bpf_map_lookup_percpu_elem(), Linux 5.19).
 */
import { BPF_CALL } from '../abi/bpf.ts';
import { SYS } from '../abi/syscall.ts';
import { isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';
import { BPF_CODE, BpfProgram, type Instruction } from './bpf-program.ts';

const WORD = 8;
const NO_SUCH_CPU = -6;
const { CALL, EXIT, FRAME, JUMP_IF_ZERO, LOAD_8, LOAD_NUMBER, MOVE, MOVE_NUMBER, STORE_8, STORE_NUMBER_8 } = BPF_CODE;

/** The argument: the processor; in its place the address of its value. */
const addressOfValue = (map: number): readonly Instruction[] => [
  [MOVE, 6, 1, 0, 0],
  [STORE_NUMBER_8, FRAME, 0, -WORD, 0],
  [LOAD_NUMBER, 1, BPF_CALL.BPF_PSEUDO_MAP_FD, 0, map],
  [0, 0, 0, 0, 0],
  [MOVE, 2, FRAME, 0, 0],
  [BPF_CODE.ADD_NUMBER, 2, 0, 0, -WORD],
  [LOAD_8, 3, 6, 0, 0],
  [CALL, 0, 0, 0, BPF_CALL.BPF_FUNC_map_lookup_percpu_elem],
  [MOVE_NUMBER, 1, 0, 0, NO_SUCH_CPU],
  [JUMP_IF_ZERO, 0, 0, 2, 0],
  [STORE_8, 6, 0, 0, 0],
  [MOVE_NUMBER, 1, 0, 0, 0],
  [MOVE, 0, 1, 0, 0],
  [EXIT, 0, 0, 0, 0],
];

/** A value of 8 bytes for each processor, zero. */
export class CpuValues {
  readonly #map: OwnedFd;

  private constructor(map: OwnedFd) {
    this.#map = map;
  }

  /** Undefined where we may not. */
  static tryMake(): CpuValues | undefined {
    newCall();
    const attributes = scratch(128);
    [BPF_CALL.BPF_MAP_TYPE_PERCPU_ARRAY, 4, WORD, 1].forEach((value, index) => {
      attributes.view.setUint32(4 * index, value, true);
    });
    const fd = rawSyscall(SYS.bpf, BPF_CALL.BPF_MAP_CREATE, attributes.address, 128);
    return isFailure(fd) ? undefined : new CpuValues(new OwnedFd(fd));
  }

  get map(): OwnedFd {
    return this.#map;
  }

  /** In the kernel's memory, for each of the `cpus`; undefined where it does not tell. */
  tryAddresses(cpus: readonly number[]): bigint[] | undefined {
    const program = BpfProgram.tryLoad(addressOfValue(this.#map.number));
    if (program === undefined) return undefined;
    try {
      const found: bigint[] = [];
      for (const cpu of cpus) {
        newCall();
        const argument = scratch(WORD);
        argument.view.setBigUint64(0, BigInt(cpu), true);
        if (program.tryRun({ address: argument.address, sizeBytes: WORD }) !== 0) return undefined;
        found.push(argument.view.getBigUint64(0, true));
      }
      return found;
    } finally {
      program.close();
    }
  }

  close(): void {
    this.#map.close();
  }
}
