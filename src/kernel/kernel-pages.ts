/**
 * Where the kernel has the bytes of a page of which only its struct page is known: in its map of all memory (page_offset_base of x86, at another place after
 * each boot). Found by a page of ours, which is known by its bytes, its frame (proc_pid_pagemap(5), CAP_SYS_ADMIN) and its struct page (in a pipe, vmsplice(2)).
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { SYS } from './abi/syscall.ts';
import { makePipe } from './calls/pipes.ts';
import { check } from './errors.ts';
import { rawSyscall } from './ffi.ts';
import { type KernelObjects, UnknownKernelObject } from './kernel-objects.ts';
import { NativeMemory } from './native-memory.ts';

const PAGE = 4096;
const MARK_SIZE = 32;
const FRAME_BITS = (1n << 55n) - 1n;
/** A page table's entry of this size is what both places are rounded to (arch/x86/mm/kaslr.c). */
const GRAIN = 1n << 30n;

export class KernelPages {
  /** Of frame 0. */
  readonly #structs: bigint;
  readonly #bytes: bigint;
  readonly #structSize: bigint;

  private constructor(structs: bigint, bytes: bigint, structSize: bigint) {
    this.#structs = structs;
    this.#bytes = bytes;
    this.#structSize = structSize;
  }

  /** Throws {@link UnknownKernelObject}. */
  static find(kernel: KernelObjects): KernelPages {
    const memory = NativeMemory.allocate(PAGE);
    const pipe = makePipe();
    try {
      const mark = randomBytes(MARK_SIZE);
      memory.bytes.set(mark);
      memory.view.setBigUint64(MARK_SIZE, BigInt(memory.address), true);
      memory.view.setBigUint64(MARK_SIZE + 8, BigInt(PAGE), true);
      // It holds the page where it is.
      const moved = rawSyscall(SYS.vmsplice, pipe.write.number, memory.address + MARK_SIZE, 1, 0);
      check('vmsplice', moved, { doing: 'show the kernel a page of ours' });
      const info = kernel.fileOf(pipe.read.number).u64('private_data');
      const buffer = kernel.u64('pipe_inode_info', info, 'bufs');
      const page = kernel.u64('pipe_buffer', buffer, 'page');
      const frame = frameOf(memory.address);
      const size = BigInt(kernel.sizeOf('page'));
      return new KernelPages(page - frame * size, findBytes(kernel, info, { frame, mark }), size);
    } finally {
      pipe.read.close();
      pipe.write.close();
      memory.free();
    }
  }

  /** Of its first byte. Throws {@link UnknownKernelObject} for what is no page of memory. */
  addressOf(page: bigint): bigint {
    const offset = page - this.#structs;
    if (offset < 0n || offset % this.#structSize !== 0n) throw new UnknownKernelObject('what should be a page is none');
    return this.#bytes + (offset / this.#structSize) * BigInt(PAGE);
  }
}

function frameOf(address: number): bigint {
  const file = openSync('/proc/self/pagemap', 'r');
  try {
    const entry = Buffer.alloc(8);
    readSync(file, entry, 0, 8, Math.floor(address / PAGE) * 8);
    const frame = entry.readBigUInt64LE(0) & FRAME_BITS;
    if (frame === 0n) throw new UnknownKernelObject('the frames of our pages are not shown');
    return frame;
  } finally {
    closeSync(file);
  }
}

/**
 * `known`: something that is in that map. It begins below that, by no more than there is memory. From the lowest place on, below which there is nothing: so
 * nothing behind the map is looked at, where devices may be.
 */
function findBytes(
  kernel: KernelObjects,
  known: bigint,
  { frame, mark }: { readonly frame: bigint; readonly mark: Buffer },
): bigint {
  const lowest = known - highestFrame() * BigInt(PAGE);
  for (let base = (lowest / GRAIN) * GRAIN; base <= known; base += GRAIN) {
    if (kernel.tryBytes(base + frame * BigInt(PAGE), MARK_SIZE)?.equals(mark) === true) return base;
  }
  throw new UnknownKernelObject('the map of all memory is not where it should be');
}

function highestFrame(): bigint {
  const zones = readFileSync('/proc/zoneinfo', 'latin1').split(/^Node /m);
  const ends = zones.map((zone) => {
    const [, spanned = '0'] = /^\s+spanned\s+(\d+)/m.exec(zone) ?? [];
    const [, start = '0'] = /^\s+start_pfn:\s+(\d+)/m.exec(zone) ?? [];
    return Number(start) + Number(spanned);
  });
  return BigInt(Math.max(0, ...ends));
}
