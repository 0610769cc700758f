/** On which processor the calling thread runs: sched_setaffinity(2). */
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

/** Room for 8,192 processors, more than any kernel has. */
const MASK_BYTES = 1024;
const THIS_THREAD = 0;

/** Runs something on one processor. Undefined if we may not run there, or it is not there. */
export function tryOnProcessor<T>(processor: number, run: () => T): T | undefined {
  if (processor >= MASK_BYTES * 8) return undefined;
  newCall();
  const before = scratch(MASK_BYTES);
  const sizeBytes = rawSyscall(SYS.sched_getaffinity, THIS_THREAD, MASK_BYTES, before.address);
  const bytes = check('sched_getaffinity', sizeBytes, { doing: 'read on which processors this command may run' });
  const mask = Buffer.from(before.bytes.subarray(0, bytes));
  const one = Buffer.alloc(MASK_BYTES);
  one[processor >> 3] = 1 << (processor & 7);
  if (!trySetMask(one)) return undefined;
  try {
    return run();
  } finally {
    trySetMask(mask);
  }
}

function trySetMask(mask: Buffer): boolean {
  newCall();
  const bytes = scratch(mask.length);
  mask.copy(bytes.bytes);
  return rawSyscall(SYS.sched_setaffinity, THIS_THREAD, mask.length, bytes.address) === 0;
}
