/** What the two ends of a pseudo-terminal share: which one it is, and how it is made again under its number (pts(4)). */
import { FCNTL, OPEN } from '../kernel/abi/fcntl.ts';
import { IOCTL } from '../kernel/abi/ioctl.ts';
import { STAT } from '../kernel/abi/stat.ts';
import { fcntl, openFile } from '../kernel/calls/descriptors.ts';
import { askTerminal, tellTerminal } from '../kernel/calls/pseudo-terminals.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { fdinfoLines } from '../procfs/fdinfo.ts';
import type { LocalFd } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { tryStat } from '../support/try-stat.ts';
import type { DescriptorView, RestoredDescriptors } from './resource.ts';
import { STATUS_FLAGS } from './status-flags.ts';
import { isTerminalMultiplexer } from './terminal-devices.ts';

/** The limit of the kernel: NR_UNIX98_PTY_MAX of drivers/tty/pty.c. */
export const MAX_TERMINALS = 1 << 20;
export const MULTIPLEXER = '/dev/ptmx';
/** Majors of slaves: 136 to 143 (Documentation/admin-guide/devices.txt). */
const FIRST_SLAVE_MAJOR = 136;
const LAST_SLAVE_MAJOR = 143;

const isDevice = ({ stat, info }: DescriptorView): boolean =>
  (stat.mode & STAT.S_IFMT) === STAT.S_IFCHR && (info.flags & OPEN.O_PATH) === 0;

export const slavePath = (index: number): string => `/dev/pts/${index}`;

/** The number of the pseudo-terminal whose master this is; fdinfo tells it (Linux 4.15). */
export function masterIndex(view: DescriptorView): number | undefined {
  if (!isDevice(view) || !isTerminalMultiplexer(view.stat)) return undefined;
  const [index] = fdinfoLines(view.info, 'tty-index');
  return index !== undefined && /^\d+$/.test(index) ? Number(index) : undefined;
}

/** The number of the pseudo-terminal whose slave this is, by its device number. */
export function slaveIndex(view: DescriptorView): number | undefined {
  const { rawDevice } = view.stat;
  const major = (rawDevice >> 8) & 0xfff;
  if (!isDevice(view) || major < FIRST_SLAVE_MAJOR || major > LAST_SLAVE_MAJOR || view.descriptor.deleted) {
    return undefined;
  }
  return (rawDevice & 0xff) | ((rawDevice >> 12) & 0xfff00);
}

/** Is the master among what is saved? */
export const masterOf = (slave: DescriptorView): DescriptorView | undefined => {
  const index = slaveIndex(slave);
  return index === undefined ? undefined : slave.siblings.find((other) => masterIndex(other) === index);
};

/** Is it the terminal of the instance of devpts that is mounted here? */
export function isUnderItsName(slave: DescriptorView, index: number): boolean {
  const named = tryStat(slavePath(index));
  return named?.ino === slave.stat.inode && Number(named.dev) === slave.stat.device;
}

/** The pair behind a number, made for the first end that asks; unlocked until its master is settled. */
export const terminal = (world: RestoredDescriptors, index: number): { readonly master: OwnedFd } =>
  world.shared(`pseudo-terminal ${index}`, () => ({ master: makeMaster(index) }));

/** The kernel gives the lowest free number: the free ones below are taken meanwhile. */
function makeMaster(index: number): OwnedFd {
  const below: OwnedFd[] = [];
  try {
    for (;;) {
      const master = openFile(MULTIPLEXER, OPEN.O_RDWR | OPEN.O_NOCTTY);
      const got = askTerminal(master.number, IOCTL.TIOCGPTN, 'number');
      if (got === index) {
        tellTerminal(master.number, IOCTL.TIOCSPTLCK, 0, 'lock');
        return master;
      }
      below.push(master);
      if (got > index) {
        throw new QuicksaveError('terminal-taken', `The terminal ${slavePath(index)} is in use by somebody else.`, {
          remedy: 'End whoever has it, and restart again.',
        });
      }
    }
  } finally {
    for (const master of below) master.close();
  }
}

export const statusFlags = (view: DescriptorView): number => (view.info.flags & (OPEN.O_ACCMODE | STATUS_FLAGS)) >>> 0;

export function setStatusFlags(fd: LocalFd, flags: number): void {
  fcntl(fd, FCNTL.F_SETFL, flags & STATUS_FLAGS, 'set the flags of a terminal');
}
