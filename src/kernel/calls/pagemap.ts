/** Which pages a target has: ioctl PAGEMAP_SCAN (Linux 6.7) on /proc/PID/pagemap. */
import type { LocalFd } from '../../support/brand.ts';
import { ERRNO } from '../abi/errno.ts';
import { FS } from '../abi/fs.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';
import { newCall, scratch } from '../scratch.ts';

/** Pages `start`..`end` (end exclusive) that have `categories` in common, as bits PAGE_IS_*. */
export interface PageRegion {
  readonly start: number;
  readonly end: number;
  readonly categories: number;
}

export interface PageQuery {
  /** A page matches when it has all of these (after `inverted`)... */
  readonly all: number;
  /** ...and at least one of these, if any are given. */
  readonly any: number;
  /** Categories whose meaning is turned round before matching. */
  readonly inverted: number;
  /** Which categories the answer tells apart. */
  readonly tell: number;
}

const SCAN_ARG_SIZE = 96;
const REGION_SIZE = 24;
const REGIONS_PER_CALL = 8192;

let regions: NativeMemory | undefined;

/** All matching regions of `start`..`end`, ascending. Undefined where the kernel has no PAGEMAP_SCAN. */
export function tryScanPages(pagemap: LocalFd, start: number, end: number, query: PageQuery): PageRegion[] | undefined {
  const found: PageRegion[] = [];
  const count = scan(pagemap, start, end, { ...query, flags: 0 }, (region) => found.push(region));
  if (count === -ERRNO.ENOTTY || count === -ERRNO.EINVAL) return undefined;
  check('ioctl(PAGEMAP_SCAN)', count, { doing: 'find the pages in use' });
  return found;
}

/**
 * Write-protects pages of `start`..`end` that have been written since the last time, so that PAGE_IS_WRITTEN tells the next write. Only where
 * asynchronous write protection is registered: fails with EPERM elsewhere. Pages of the file itself stay as they are: whoever writes to one gets a
 * page of his own, which has not been protected.
 */
export function protectWritten(pagemap: LocalFd, start: number, end: number): void {
  const { PAGE_IS_PRESENT, PAGE_IS_WRITTEN, PAGE_IS_FILE } = FS;
  // A page that is not there counts as written too, and would get a marker, which looks like a page in swap.
  const all = PAGE_IS_PRESENT | PAGE_IS_WRITTEN | PAGE_IS_FILE;
  const flags = FS.PM_SCAN_WP_MATCHING | FS.PM_SCAN_CHECK_WPASYNC;
  const result = scan(pagemap, start, end, { all, any: 0, inverted: PAGE_IS_FILE, tell: 0, flags }, () => {});
  check('ioctl(PAGEMAP_SCAN)', result, { doing: 'begin to track what is written' });
}

/** Returns the answer of the last call. */
function scan(
  pagemap: LocalFd,
  start: number,
  end: number,
  query: PageQuery & { readonly flags: number },
  note: (region: PageRegion) => void,
): number {
  regions ??= NativeMemory.allocate(REGIONS_PER_CALL * REGION_SIZE);
  for (let from = start; from < end; ) {
    newCall();
    const arg = scratch(SCAN_ARG_SIZE);
    const { view } = arg;
    view.setBigUint64(0, BigInt(SCAN_ARG_SIZE), true);
    view.setBigUint64(8, BigInt(query.flags), true);
    view.setBigUint64(16, BigInt(from), true);
    view.setBigUint64(24, BigInt(end), true);
    view.setBigUint64(40, BigInt(regions.address), true);
    view.setBigUint64(48, BigInt(REGIONS_PER_CALL), true);
    view.setBigUint64(64, BigInt(query.inverted), true);
    view.setBigUint64(72, BigInt(query.all), true);
    view.setBigUint64(80, BigInt(query.any), true);
    view.setBigUint64(88, BigInt(query.tell), true);
    const count = rawSyscall(SYS.ioctl, pagemap, FS.PAGEMAP_SCAN, arg.address);
    if (isFailure(count)) return count;
    for (let i = 0; i < count; i++) note(regionAt(regions.view, i * REGION_SIZE));
    // Not by walk_end: it can lie below the end although the walk is complete (seen with more than 512 regions).
    if (count < REGIONS_PER_CALL) return count;
    from = regionAt(regions.view, (count - 1) * REGION_SIZE).end;
  }
  return 0;
}

function regionAt(view: DataView, offset: number): PageRegion {
  return {
    start: Number(view.getBigUint64(offset, true)),
    end: Number(view.getBigUint64(offset + 8, true)),
    categories: Number(view.getBigUint64(offset + 16, true)),
  };
}
