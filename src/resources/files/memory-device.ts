/**
 * The character devices without state: /dev/null, zero, full, random and urandom (null(4), full(4), random(4)), and /dev/kmsg for
 * writing only: a reader has a place in the log of the kernel, which nobody can ask for.
 */
import * as v from 'valibot';
import { boundedString, u32 } from '../../image/schema.ts';
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { openFile } from '../../kernel/calls/descriptors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { anyLockObstacles } from '../file-locks.ts';
import { openingProblems } from '../may-open.ts';
import type { DescriptorKind } from '../resource.ts';

/** Major number 1, Documentation/admin-guide/devices.txt. */
const MEMORY_MAJOR = 1;
const devices: ReadonlyMap<number, string> = new Map([
  [3, 'null'],
  [5, 'zero'],
  [7, 'full'],
  [8, 'random'],
  [9, 'urandom'],
  [11, 'kmsg'],
]);
const KMSG = 11;

const schema = v.strictObject({
  path: boundedString(4096),
  minor: v.picklist([...devices.keys()]),
  flags: u32,
});
type MemoryDevice = v.InferOutput<typeof schema>;

/** makedev(3): 8 bits of each number are enough here; larger ones do not match any entry. */
const majorOf = (device: number): number => (device >> 8) & 0xfff;
const minorOf = (device: number): number => (device & 0xff) | ((device >> 12) & 0xfff00);

export const memoryDevice: DescriptorKind<MemoryDevice> = {
  kind: 'memory-device',
  schema,
  recognise: ({ stat, info }) =>
    (stat.mode & STAT.S_IFMT) === STAT.S_IFCHR &&
    majorOf(stat.rawDevice) === MEMORY_MAJOR &&
    devices.has(minorOf(stat.rawDevice)) &&
    (minorOf(stat.rawDevice) !== KMSG || (info.flags & OPEN.O_ACCMODE) === OPEN.O_WRONLY) &&
    (info.flags & OPEN.O_PATH) === 0,
  obstacles: ({ pid, fd, descriptor, info }) =>
    anyLockObstacles(info.locks, [`pid ${pid}`, `fd ${fd}`, descriptor.name]),
  collect: ({ descriptor, stat, info }) => ({
    path: descriptor.name,
    minor: minorOf(stat.rawDevice),
    flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
  }),
  plan: (state, _host, path) => {
    const refused = openingProblems(state.path, state.flags, path);
    if (refused.length > 0) return refused;
    const now = tryStat(state.path);
    const device = now?.isCharacterDevice() ? Number(now.rdev) : 0;
    if (majorOf(device) === MEMORY_MAJOR && minorOf(device) === state.minor) return [];
    return [
      {
        code: 'missing-device',
        path,
        message: `${state.path} is not the device /dev/${devices.get(state.minor)} here.`,
        remedy: `Make it: mknod ${state.path} c ${MEMORY_MAJOR} ${state.minor}`,
      },
    ];
  },
  restore: (state) => openFile(state.path, state.flags & ~(OPEN.O_CLOEXEC | OPEN.O_CREAT | OPEN.O_TRUNC)),
};
