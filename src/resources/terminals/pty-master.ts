/**
 * The master of a pseudo-terminal, pts(4), with all that belongs to the pair: its number, settings (TCGETS2), window size, packet
 * mode, lock, and whose controlling terminal it is (ioctl_tty(2); asked of a master, the kernel answers for the slave). The
 * number is told by fdinfo (Linux 4.15). Before its children are made, the leader of the session opens the slave, which
 * makes it its controlling terminal: children only inherit it. What waits in it: terminal-content.ts; where the kernel does not show it, queued bytes are
 * refused, and a line that has been typed in part and output that ^S has stopped are lost, and told.
 */
import * as v from 'valibot';
import { integerBetween, u16, u32 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { FS } from '../../kernel/abi/fs.ts';
import { IOCTL } from '../../kernel/abi/ioctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { bytesQueued, duplicate } from '../../kernel/calls/descriptors.ts';
import { hasHungUp } from '../../kernel/calls/events.ts';
import {
  askTerminal,
  hasLockedSettings,
  makeExclusive,
  openPeer,
  setTerminalSettings,
  setWindowSize,
  tellTerminal,
  terminalSettings,
  windowSize,
} from '../../kernel/calls/pseudo-terminals.ts';
import { findHolders } from '../../procfs/holders.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { ErrorCode } from '../../support/error-pages/catalogue.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { describeHolders, heldOutside } from '../held-outside.ts';
import {
  MAX_TERMINALS,
  MULTIPLEXER,
  masterIndex,
  setStatusFlags,
  slaveIndex,
  slavePath,
  statusFlags,
  terminal,
} from '../pseudo-terminals.ts';
import type { DescriptorKind, DescriptorView, OpenDescriptor, RebuiltProcess } from '../resource.ts';
import { contentSchema, readContent, restoreContent } from './terminal-content.ts';

/** pid_t; 0 for none. */
const pidOrNone = integerBetween(0, 2 ** 22);
/** struct termios2. */
const SETTINGS_SIZE = 44;

const schema = v.strictObject({
  index: integerBetween(0, MAX_TERMINALS - 1),
  flags: u32,
  settings: v.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length === SETTINGS_SIZE,
    `must be a byte string of ${SETTINGS_SIZE} bytes`,
  ),
  size: v.strictObject({ rows: u16, columns: u16, xPixels: u16, yPixels: u16 }),
  packets: v.boolean(),
  exclusive: v.boolean(),
  locked: v.boolean(),
  /** The slave has been open, and is so no more. */
  hungUp: v.boolean(),
  /** The session whose controlling terminal the slave is, by its leader. */
  session: pidOrNone,
  foreground: pidOrNone,
  /** Missing: nothing waits in it. */
  content: v.optional(contentSchema),
  /** What waits in it could not be looked at, other than what a call counts. */
  unseen: v.optional(v.boolean()),
});
type PtyMaster = v.InferOutput<typeof schema>;

export const ptyMaster: DescriptorKind<PtyMaster> = {
  kind: 'pty-master',
  schema,
  recognise: (view) => masterIndex(view) !== undefined,
  obstacles: (view) => [...heldOutside(view, 'the master of a pseudo-terminal'), ...oddMode(view)],
  collect,
  plan: (state, host, path) => [...(host.programRuns ? [] : taken(state, path)), ...missingMultiplexer(path)],
  restore: (state, world) => {
    const { master } = terminal(world, state.index);
    if (state.content !== undefined) restoreContent(master.number, state.settings, state.content);
    setTerminalSettings(master.number, state.settings);
    setWindowSize(master.number, state.size);
    if (state.packets) tellTerminal(master.number, IOCTL.TIOCPKT, 1, 'packet mode');
    if (state.hungUp) openPeer(master.number, OPEN.O_RDWR).close();
    setStatusFlags(master.number, state.flags);
    return duplicate(master.number);
  },
  settle: (state, own) => {
    if (state.locked) tellTerminal(own, IOCTL.TIOCSPTLCK, 1, 'lock');
    if (state.exclusive) makeExclusive(own);
  },
  leaderOf: ({ session }) => (session === 0 ? undefined : session),
  begin: ({ index }, process, world) => {
    terminal(world, index);
    openInside(process, slavePath(index), OPEN.O_RDWR);
  },
  finish: ({ session, foreground }, process) => {
    if (session !== 0 && foreground !== 0) setForeground(process, foreground);
  },
  remark: ({ index, unseen }) =>
    unseen === true
      ? `a line that has been typed in part on ${slavePath(index)}, and whether ^S has stopped it, is not in the image (only to be seen with CAP_BPF and CAP_PERFMON)`
      : undefined,
};

function oddMode({ pid, fd, descriptor, info }: DescriptorView): Problem[] {
  if ((info.flags & OPEN.O_ACCMODE) === OPEN.O_RDWR) return [];
  return [
    {
      code: 'terminal',
      path: [`pid ${pid}`, `fd ${fd}`, descriptor.target],
      message: 'It has the master of a pseudo-terminal open for one direction only, which cannot be saved.',
      remedy: 'Save it when the program has closed it.',
    },
  ];
}

function collect(open: OpenDescriptor): PtyMaster {
  const { own } = open;
  const index = askTerminal(own, IOCTL.TIOCGPTN, 'number');
  const name = slavePath(index);
  if (hasLockedSettings(own))
    throw notSaved('terminal', `Settings of the terminal ${name} are locked (TIOCSLCKTRMIOS)`);
  if (askTerminal(own, IOCTL.TIOCGETD, 'line discipline') !== 0) {
    throw notSaved('terminal', `The master of the terminal ${name} has a line discipline of its own`);
  }
  const session = sessionOf(own);
  if (session !== 0 && !open.tree.has(session)) {
    throw notSaved(
      'terminal-session',
      `Process ${session}, outside of what is saved, leads the session of the terminal ${name}`,
    );
  }
  const hungUp = hasHungUp(own);
  const settings = terminalSettings(own);
  const packets = askTerminal(own, IOCTL.TIOCGPKT, 'packet mode') !== 0;
  const hadSlave = hungUp || open.siblings.some((other) => slaveIndex(other) === index);
  const content = readContent({ own, name, settings, packets, hadSlave });
  if (content === undefined) refuseQueued(own, name);
  return {
    index,
    flags: statusFlags(open),
    settings,
    size: windowSize(own),
    packets,
    exclusive: askTerminal(own, IOCTL.TIOCGEXCL, 'exclusive mode') !== 0,
    locked: askTerminal(own, IOCTL.TIOCGPTLCK, 'lock') !== 0,
    hungUp,
    session,
    foreground: session === 0 ? 0 : Math.max(0, askTerminal(own, IOCTL.TIOCGPGRP, 'foreground group')),
    ...(content === undefined ? { unseen: true } : {}),
    ...(content === undefined || Object.keys(content).length === 0 ? {} : { content }),
  };
}

/** What a reader of the master would get. Reading it takes it away: without a look at the kernel's own structs it is not known. */
function refuseQueued(own: LocalFd, name: string): void {
  const queued = bytesQueued(own, FS.FIONREAD);
  if (queued > 0) throw notSaved('terminal-content', `${queued} bytes from the terminal ${name} have not been read`);
}

const notSaved = (code: ErrorCode, sentence: string): QuicksaveError =>
  new QuicksaveError(code, `${sentence}, which cannot be saved.`, { remedy: 'Save it a moment later.' });

/** 0 if it is nobody's: then the kernel answers ENOTTY. */
function sessionOf(own: LocalFd): number {
  try {
    return Math.max(0, askTerminal(own, IOCTL.TIOCGSID, 'session'));
  } catch (error) {
    if (error instanceof QuicksaveError) return 0;
    throw error;
  }
}

function taken({ index }: PtyMaster, path: readonly string[]): Problem[] {
  const name = slavePath(index);
  if (tryStat(name) === undefined) return [];
  const holders = findHolders(name, new Set([process.pid]));
  const whose = holders.length === 0 ? 'somebody' : describeHolders(holders);
  return [
    {
      code: 'terminal-taken',
      path,
      message: `The terminal ${name} is in use here: ${whose} has it.`,
      remedy: 'End that program, or close its window, and restart again.',
    },
  ];
}

function missingMultiplexer(path: readonly string[]): Problem[] {
  if (tryStat(MULTIPLEXER)?.isCharacterDevice()) return [];
  return [
    {
      code: 'missing-device',
      path,
      message: `There is no ${MULTIPLEXER} here, which makes pseudo-terminals.`,
      remedy: 'Mount devpts(5), and restart again.',
    },
  ];
}

/** Opens and closes it there: for what opening does to the process. */
function openInside({ batch, pid }: RebuiltProcess, path: string, flags: number): void {
  const name = batch.cString(path);
  const opened = batch.call(`open ${path} in process ${pid}`, SYS.openat, FCNTL.AT_FDCWD, name.address, flags);
  batch.run();
  batch.call(`close ${path}`, SYS.close, opened.result);
  batch.run();
}

/** tcsetpgrp(3), by a member of the session. A group whose last process has gone cannot be named again. */
function setForeground({ batch }: RebuiltProcess, group: number): void {
  const name = batch.cString('/dev/tty');
  const opened = batch.call('open the terminal', SYS.openat, FCNTL.AT_FDCWD, name.address, OPEN.O_RDWR | OPEN.O_NOCTTY);
  batch.run();
  const wanted = Buffer.alloc(4);
  wanted.writeInt32LE(group);
  const { address } = batch.bytes(wanted);
  batch.tryCall('set the foreground group', SYS.ioctl, opened.result, IOCTL.TIOCSPGRP, address);
  batch.call('close the terminal', SYS.close, opened.result);
  batch.run();
}
