/**
 * The path of a file of which the kernel shows device and handle only (name_to_handle_at(2)). Who watches the root of the
 * file system sees it opened; of the file itself nobody notices the look.
 */
import { lstatSync, readlinkSync } from 'node:fs';
import { OPEN } from '../kernel/abi/fcntl.ts';
import { tryOpenFile } from '../kernel/calls/descriptors.ts';
import { tryOpenByHandle } from '../kernel/calls/watches.ts';
import { type Mount, readMountinfo } from '../procfs/mountinfo.ts';
import type { Pid } from '../support/brand.ts';

export interface FileHandle {
  readonly device: { readonly major: number; readonly minor: number };
  readonly inode: bigint;
  readonly type: number;
  readonly handle: Uint8Array;
}

/** MINORBITS of linux/kdev_t.h: the kernel's own form of device numbers. */
const MINOR_BITS = 20;

/** The hexadecimal "sdev" of fdinfo. */
export function shownDevice(text: string): FileHandle['device'] {
  const device = Number.parseInt(text, 16);
  return { major: device >>> MINOR_BITS, minor: device & ((1 << MINOR_BITS) - 1) };
}

/** "ino", "sdev", "fhandle-type" and "f_handle" of a watch in fdinfo, all hexadecimal (fs/notify/fdinfo.c). */
export const shownFile = (inode: string, device: string, type: string, handle: string): FileHandle => ({
  device: shownDevice(device),
  inode: BigInt(`0x${inode}`),
  type: Number.parseInt(type, 16),
  handle: Buffer.from(handle, 'hex'),
});

/** Undefined if it has no name any more, or may not be asked for (CAP_DAC_READ_SEARCH). */
export function pathOfHandle(pid: Pid, file: FileHandle): string | undefined {
  const mounts = readMountinfo(pid).filter(
    ({ device }) => device.major === file.device.major && device.minor === file.device.minor,
  );
  for (const mount of mounts) {
    const path = pathWithin(mount, file);
    if (path !== undefined) return path;
  }
  return undefined;
}

function pathWithin({ mountPoint }: Mount, { type, handle, inode }: FileHandle): string | undefined {
  // Not by its path only: that the kernel does not take (seen on 6.18).
  const root = tryOpenFile(mountPoint, OPEN.O_DIRECTORY | OPEN.O_NONBLOCK);
  if (root === undefined) return undefined;
  try {
    const found = tryOpenByHandle(root.number, type, handle);
    if (found === undefined) return undefined;
    try {
      const path = readlinkSync(`/proc/self/fd/${found.number}`);
      return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino === inode ? path : undefined;
    } finally {
      found.close();
    }
  } finally {
    root.close();
  }
}
