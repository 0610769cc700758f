/**
 * A small piece of native memory for the arguments of one system call. Calls are synchronous, so one call's arguments are
 * dead when the next call's are laid out; nothing may keep a pointer into it.
 */
import type { LocalAddress } from '../support/brand.ts';
import { NativeMemory } from './native-memory.ts';

const SCRATCH_SIZE = 256 * 1024;
let memory: NativeMemory | undefined;
let used = 0;

function scratchMemory(): NativeMemory {
  memory ??= NativeMemory.allocate(SCRATCH_SIZE);
  return memory;
}

export interface ScratchBlock {
  readonly address: LocalAddress;
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** Starts laying out the arguments of a new call; everything handed out before is given up. */
export function newCall(): void {
  used = 0;
}

/** Zeroed bytes, 16-aligned, for the call that is being laid out. */
export function scratch(sizeBytes: number): ScratchBlock {
  const whole = scratchMemory();
  const start = used;
  if (start + sizeBytes > SCRATCH_SIZE)
    throw new RangeError(`a system call's arguments need more than ${SCRATCH_SIZE} bytes`);
  used = (start + sizeBytes + 15) & ~15;
  const bytes = whole.bytes.subarray(start, start + sizeBytes);
  bytes.fill(0);
  return {
    address: (whole.address + start) as LocalAddress,
    bytes,
    view: new DataView(whole.view.buffer, start, sizeBytes),
  };
}

/** A NUL-terminated copy of a path. */
export function cString(text: string): ScratchBlock {
  const block = scratch(Buffer.byteLength(text) + 1);
  block.bytes.write(text);
  return block;
}
