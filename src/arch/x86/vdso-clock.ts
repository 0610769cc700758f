/**
 * The data pages of another kernel's vDSO, as memory of the program. What its functions read there is a pair of clocks that
 * nobody keeps up to date any more. They are marked as clocks that cannot be read in user space, as the kernel marks them
 * when the time stamp counter is not to be trusted: code that is in the middle of reading them begins again and makes the system
 * call.
 *
 * Each clock begins with a sequence count (u32, even while nothing changes), the mode (s32) and the counter at the last
 * update (u64): asm/vgtod.h before Linux 5.3, vdso/datapage.h since. The first stands at byte 0 of its page, on older kernels at
 * byte 128.
 */

/** VDSO_CLOCKMODE_NONE: neither TSC (1) nor the clocks of KVM (2) and Hyper-V (3). */
const MODE_NONE = 0;
const LAST_MODE = 3;
const FIRST_CLOCK = [0, 128] as const;
const MODE = 4;
const COUNTER = 8;
const CLOCK_HEAD = 16;
/** Clocks are updated some seconds apart at most, which is less than this on any counter. */
const COUNTER_RANGE = 1n << 40n;

/** Marks the clocks in a page of data. False if there is none whose form is known. */
export function stopClocks(page: Buffer): boolean {
  const first = FIRST_CLOCK.find((offset) => isClock(page, offset));
  if (first === undefined) return false;
  const mode = page.readInt32LE(first + MODE);
  if (mode === MODE_NONE) return true;
  const counter = page.readBigUInt64LE(first + COUNTER);
  for (let offset = first; offset + CLOCK_HEAD <= page.length; offset += 8) {
    const distance = page.readBigUInt64LE(offset + COUNTER) - counter;
    if (page.readInt32LE(offset + MODE) !== mode || distance > COUNTER_RANGE || distance < -COUNTER_RANGE) continue;
    page.writeUInt32LE(nextCount(page.readUInt32LE(offset)), offset);
    page.writeInt32LE(MODE_NONE, offset + MODE);
  }
  return true;
}

function isClock(page: Buffer, offset: number): boolean {
  if (offset + CLOCK_HEAD > page.length) return false;
  const mode = page.readInt32LE(offset + MODE);
  const isUsed = page.readUInt32LE(offset) !== 0 && page.readBigUInt64LE(offset + COUNTER) !== 0n;
  return isUsed && mode >= MODE_NONE && mode <= LAST_MODE;
}

/** Even, and another than any that a thread can have read: that was this one, or one before. */
const nextCount = (count: number): number => ((count | 1) + 1) >>> 0;
