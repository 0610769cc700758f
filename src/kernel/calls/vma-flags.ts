/**
 * The flags of all mappings of a process, as numbers: what /proc/PID/smaps spells out, without the walk through every page of memory that it does for its sums (15 to 20 ms for a
 * gibibyte). By an iterator of bpf(2) (BPF_TRACE_ITER over task_vma, Linux 5.12; of one task alone, 6.1). For CAP_BPF and CAP_PERFMON.
 */
import { closeSync, readSync } from 'node:fs';
import { BPF_CALL } from '../abi/bpf.ts';
import { SYS } from '../abi/syscall.ts';
import { isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';
import { BPF_CODE, BpfProgram, type Instruction } from './bpf-program.ts';

const { ADD_NUMBER, CALL, EXIT, FRAME, JUMP_IF_ZERO, LOAD_8, MOVE, MOVE_NUMBER, STORE_8 } = BPF_CODE;
const WORD = 8;
const RECORD_SIZE = 3 * WORD;
const READ_SIZE = 1 << 16;

/** Where the kernel has what the program reads. */
export interface VmaLayout {
  readonly start: number;
  readonly end: number;
  readonly flags: number;
  /** Of the file that is written, in what an iterator is told of itself. */
  readonly sequence: number;
  /** The number of bpf_iter_task_vma() in the kernel's type information. */
  readonly iterator: number;
}

export interface VmaFlags {
  readonly start: number;
  readonly end: number;
  readonly flags: bigint;
}

/** Its argument is three pointers: what it is told of itself, the task, the mapping, which is null at the end. */
const writeRecord = ({ start, end, flags, sequence }: VmaLayout): readonly Instruction[] => [
  [MOVE, 6, 1, 0, 0],
  [LOAD_8, 7, 6, 2 * WORD, 0],
  [JUMP_IF_ZERO, 7, 0, 12, 0],
  ...[start, end, flags].flatMap((offset, index): Instruction[] => [
    [LOAD_8, 1, 7, offset, 0],
    [STORE_8, FRAME, 1, index * WORD - RECORD_SIZE, 0],
  ]),
  [LOAD_8, 1, 6, 0, 0],
  [LOAD_8, 1, 1, sequence, 0],
  [MOVE, 2, FRAME, 0, 0],
  [ADD_NUMBER, 2, 0, 0, -RECORD_SIZE],
  [MOVE_NUMBER, 3, 0, 0, RECORD_SIZE],
  [CALL, 0, 0, 0, BPF_CALL.BPF_FUNC_seq_write],
  [MOVE_NUMBER, 0, 0, 0, 0],
  [EXIT, 0, 0, 0, 0],
];

const LINK_ATTRIBUTES_SIZE = 64;
/** `union bpf_iter_link_info`: the thread's number is its first member. */
const LINK_INFO_SIZE = 16;

export class VmaIterator {
  readonly #program: BpfProgram;

  private constructor(program: BpfProgram) {
    this.#program = program;
  }

  /** Undefined where we may not, or the kernel has no such iterator. */
  static tryOpen(layout: VmaLayout): VmaIterator | undefined {
    const program = BpfProgram.tryLoadIterator(writeRecord(layout), layout.iterator);
    return program && new VmaIterator(program);
  }

  /** In ascending order, but the one that every process has above user space; none of a task that is not there. Undefined if they cannot be read. */
  tryRead(tid: number): VmaFlags[] | undefined {
    const link = this.#link(tid);
    if (link === undefined) return undefined;
    try {
      newCall();
      const attributes = scratch(LINK_ATTRIBUTES_SIZE);
      attributes.view.setUint32(0, link.number, true);
      const iterator = rawSyscall(SYS.bpf, BPF_CALL.BPF_ITER_CREATE, attributes.address, LINK_ATTRIBUTES_SIZE);
      return isFailure(iterator) ? undefined : readAll(iterator);
    } finally {
      link.close();
    }
  }

  #link(tid: number): OwnedFd | undefined {
    newCall();
    const info = scratch(LINK_INFO_SIZE);
    info.view.setUint32(0, tid, true);
    const attributes = scratch(LINK_ATTRIBUTES_SIZE);
    attributes.view.setUint32(0, this.#program.number, true);
    attributes.view.setUint32(8, BPF_CALL.BPF_TRACE_ITER, true);
    attributes.view.setBigUint64(16, BigInt(info.address), true);
    attributes.view.setUint32(24, LINK_INFO_SIZE, true);
    const link = rawSyscall(SYS.bpf, BPF_CALL.BPF_LINK_CREATE, attributes.address, LINK_ATTRIBUTES_SIZE);
    return isFailure(link) ? undefined : new OwnedFd(link);
  }

  close(): void {
    this.#program.close();
  }
}

/**
 * To the end, which the kernel does not tell: what did not fit into its buffer comes with the next read, and once that is done it begins again behind the place where the buffer was
 * full (task_vma_seq_stop(), which notes a place only then).
 */
function readAll(fd: number): VmaFlags[] {
  const records: VmaFlags[] = [];
  const piece = Buffer.alloc(READ_SIZE);
  try {
    for (let end = 0; ; ) {
      const size = readSync(fd, piece);
      if (size === 0) return records;
      for (let at = 0; at + RECORD_SIZE <= size; at += RECORD_SIZE) {
        const start = Number(piece.readBigUInt64LE(at));
        if (start < end) return records;
        end = Number(piece.readBigUInt64LE(at + WORD));
        records.push({ start, end, flags: piece.readBigUInt64LE(at + 2 * WORD) });
      }
    }
  } finally {
    closeSync(fd);
  }
}
