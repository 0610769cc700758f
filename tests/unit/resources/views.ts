/** Descriptors and mappings as a look from outside finds them. */

import { OPEN } from '../../../src/kernel/abi/fcntl.ts';
import { STAT } from '../../../src/kernel/abi/stat.ts';
import { parseDescriptorTarget } from '../../../src/procfs/descriptors.ts';
import { type Mapping, parseSmaps } from '../../../src/procfs/smaps.ts';
import { refusesOutside } from '../../../src/resources/outside-policy.ts';
import type { CollectedProcess, DescriptorView } from '../../../src/resources/resource.ts';
import { asPid, remoteFd } from '../../../src/support/brand.ts';

const PID = asPid(4242);

export const device = (major: number, minor: number): number =>
  ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12);

export interface Looks {
  /** The text of the link in /proc/PID/fd. */
  readonly target: string;
  readonly mode: number;
  readonly fd?: number;
  readonly numbers?: readonly number[];
  readonly flags?: number;
  readonly links?: bigint;
  readonly rawDevice?: number;
  readonly inode?: bigint;
  readonly position?: number;
  readonly sizeBytes?: bigint;
  readonly siblings?: readonly DescriptorView[];
  readonly outsiders?: DescriptorView['outsiders'];
  readonly locks?: DescriptorView['info']['locks'];
  /** Lines of fdinfo that only this kind has. */
  readonly fields?: Readonly<Record<string, readonly string[]>>;
}

export function descriptorView(looks: Looks): DescriptorView {
  const { target, mode, fd = 5, flags = OPEN.O_RDWR, links = 1n, rawDevice = 0, inode = 7n } = looks;
  return {
    pid: PID,
    fd: remoteFd(fd),
    descriptor: { fd: remoteFd(fd), target, ...parseDescriptorTarget(target) },
    info: {
      position: looks.position ?? 0,
      flags,
      mountId: 1,
      inode: 7,
      locks: looks.locks ?? [],
      fields: new Map(Object.entries(looks.fields ?? {})),
    },
    stat: {
      mode,
      uid: 0,
      gid: 0,
      device: 0xfe00,
      inode,
      rawDevice,
      sizeBytes: looks.sizeBytes ?? 100n,
      modifiedNs: 5n,
      links,
    },
    numbers: (looks.numbers ?? [fd]).map(remoteFd),
    holders: (looks.numbers ?? [fd]).map((number) => ({ pid: PID, fd: remoteFd(number) })),
    queuesSeen: true,
    outside: refusesOutside,
    tree: new Set([PID]),
    siblings: looks.siblings ?? [],
    outsiders: looks.outsiders ?? [],
  };
}

const type = (bits: number, permissions = 0o600): number => bits | permissions;

export const looks = {
  file: { target: '/var/log/worker', mode: type(STAT.S_IFREG, 0o644) },
  unlinked: { target: '/tmp/gone (deleted)', mode: type(STAT.S_IFREG), links: 0n },
  memfd: { target: '/memfd:pool (deleted)', mode: type(STAT.S_IFREG), links: 0n },
  anonymousMemory: { target: '/dev/zero (deleted)', mode: type(STAT.S_IFREG), links: 0n },
  sharedMemory: { target: '/SYSV00000000 (deleted)', mode: type(STAT.S_IFREG), links: 0n },
  directory: { target: '/srv', mode: type(STAT.S_IFDIR) },
  null: { target: '/dev/null', mode: type(STAT.S_IFCHR), rawDevice: device(1, 3) },
  kmsg: { target: '/dev/kmsg', mode: type(STAT.S_IFCHR), rawDevice: device(1, 11) },
  memory: { target: '/dev/mem', mode: type(STAT.S_IFCHR), rawDevice: device(1, 1) },
  terminal: { target: '/dev/pts/3', mode: type(STAT.S_IFCHR), rawDevice: device(136, 3) },
  master: {
    target: '/dev/ptmx',
    mode: type(STAT.S_IFCHR),
    rawDevice: device(5, 2),
    fields: { 'tty-index': ['3'] },
  },
  fuse: { target: '/dev/fuse', mode: type(STAT.S_IFCHR), rawDevice: device(10, 229) },
  pipe: { target: 'pipe:[99]', mode: type(STAT.S_IFIFO) },
  socket: { target: 'socket:[98]', mode: type(STAT.S_IFSOCK) },
  timerfd: { target: 'anon_inode:[timerfd]', mode: 0o600 },
  signalfd: { target: 'anon_inode:[signalfd]', mode: 0o600 },
  eventfd: { target: 'anon_inode:[eventfd]', mode: 0o600 },
  ring: { target: 'anon_inode:[io_uring]', mode: 0o600 },
  epoll: { target: 'anon_inode:[eventpoll]', mode: 0o600 },
} satisfies Record<string, Looks>;

const SIZES = [
  ...['KernelPageSize', 'Rss', 'Pss', 'Shared_Clean', 'Shared_Dirty', 'Private_Clean', 'Private_Dirty'],
  ...['Anonymous', 'LazyFree', 'AnonHugePages', 'Shared_Hugetlb', 'Private_Hugetlb', 'Swap', 'Locked'],
];

/** One entry of smaps: permissions and name as the kernel prints them. */
export function mappingView(permissions: string, name: string, vmFlags = 'rd wr mr mw me ac'): Mapping {
  const header = `7f0000000000-7f0000002000 ${permissions} 00000000 00:00 0    ${name}`;
  const sizes = SIZES.map((key) => `${key}: 4 kB\n`).join('');
  const [mapping] = parseSmaps(`${header}\n${sizes}VmFlags: ${vmFlags} \n`);
  if (mapping === undefined) throw new Error('the entry was not read');
  return mapping;
}

export interface AskedFile {
  readonly link: string;
  readonly path: string;
  readonly writable: boolean | undefined;
}

/** A process whose every file is object 7; notes which files were asked for. */
export function processWithFiles(asked: AskedFile[] = []): CollectedProcess {
  const reference = (link: string, path: string, writable?: boolean): number => {
    asked.push({ link, path, writable });
    return 7;
  };
  return { pid: PID, speaker: PID, files: { reference, object: reference } } as unknown as CollectedProcess;
}
