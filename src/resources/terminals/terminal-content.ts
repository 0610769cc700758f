/**
 * What waits in a pseudo-terminal: what was typed and nobody has read, up to half a line (termios(3), canonical mode), what was shown and nobody has read, and
 * whether ^S has stopped it. Read where the kernel keeps it (CAP_BPF, CAP_PERFMON); brought back by typing and showing it again, with settings under which
 * nothing is echoed, signalled or changed. Whether the terminal is in canonical mode must be the same meanwhile: changing that ends the line.
 * Lost: the column where the next character is shown, which decides how wide a tab is.
 */
import * as v from 'valibot';
import { boundedArray, byteString, integerBetween } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { FS } from '../../kernel/abi/fs.ts';
import { TERMIOS } from '../../kernel/abi/ioctl.ts';
import { bytesQueued, fcntl } from '../../kernel/calls/descriptors.ts';
import { hasEvents, isWritable } from '../../kernel/calls/events.ts';
import { controlFlow, openPeer, setTerminalSettings, tryWriteTerminal } from '../../kernel/calls/pseudo-terminals.ts';
import { KernelObjects, UnknownKernelObject } from '../../kernel/kernel-objects.ts';
import {
  type InputQueue,
  readTerminalEnd,
  readTerminalPair,
  type TerminalPair,
} from '../../kernel/terminal-objects.ts';
import type { LocalFd } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';

/** The queue of the line discipline. */
const MAX_QUEUE = 4096;
/** What it has no room for waits behind it: 8 KiB (pty_common_install()), and what a last write went beyond that. */
const MAX_WAITING = MAX_QUEUE + 65_536;

const typed = v.pipe(
  v.strictObject({
    bytes: byteString(MAX_WAITING),
    /** Which of them end a line: "\n", or NUL for an end of file (^D). Ascending. */
    ends: boundedArray(integerBetween(0, MAX_QUEUE - 1), MAX_QUEUE),
    /** The next character is taken as it is (^V). */
    quotes: v.boolean(),
  }),
  v.check(
    ({ bytes, ends }) => ends.every((end, index) => end < bytes.length && end > (ends[index - 1] ?? -1)),
    'must have ends among its bytes, in ascending order',
  ),
  v.check(({ bytes, ends }) => ends.every((end) => isEnd(bytes[end])), 'must have lines that end with LF or NUL'),
);

export const contentSchema = v.strictObject({
  typed: v.optional(typed),
  shown: v.optional(byteString(MAX_WAITING)),
  /** By ^S, which any ^Q undoes, or by a call (TCXONC). */
  stopped: v.optional(v.picklist(['typed', 'called'])),
});
export type TerminalContent = v.InferOutput<typeof contentSchema>;

const LINE_FEED = 10;
const NUL = 0;
const isEnd = (byte: number | undefined): boolean => byte === LINE_FEED || byte === NUL;

export interface ContentQuestion {
  readonly own: LocalFd;
  readonly name: string;
  /** struct termios2. */
  readonly settings: Uint8Array;
  /** In packet mode. */
  readonly packets: boolean;
  /** The slave is or was open: without that, there is no way to know that what is typed again has arrived. */
  readonly hadSlave: boolean;
}

/** That ^S has been heeded shows in a terminal only that would take more otherwise. */
const MAX_STOPPED = 4096;

/** Undefined where the kernel does not show it. Throws for what could not be brought back. */
export function readContent(about: ContentQuestion): TerminalContent | undefined {
  const pair = tryReadPair(about.own);
  if (pair === undefined) return undefined;
  const { master, slave } = pair;
  if (master.isStopped) throw waits(about, 'its master has been stopped (TCXONC)');
  if (about.packets && slave.packetStatus !== 0)
    throw waits(about, 'the master has not read the status byte of packet mode');
  if (master.input.ends.length > 0 || master.input.isQuoting) throw waits(about, 'its master takes lines');
  const stopped = slave.isStopped ? (slave.isStoppedByCall ? 'called' : 'typed') : undefined;
  const shown = Buffer.concat([master.input.bytes, master.input.behind]);
  const line = typedOf(about, slave.input);
  if (stopped === 'typed' && shown.length > MAX_STOPPED) throw waits(about, 'it is stopped, and full');
  const isEmpty = shown.length === 0 && line === undefined && stopped === undefined;
  if (!isEmpty && !about.hadSlave) throw waits(about, 'something waits in it although it was never opened');
  return {
    ...(line === undefined ? {} : { typed: line }),
    ...(shown.length === 0 ? {} : { shown }),
    ...(stopped === undefined ? {} : { stopped }),
  };
}

function typedOf(about: ContentQuestion, input: InputQueue): TerminalContent['typed'] {
  const { bytes, ends, behind, isQuoting } = input;
  const isCanonical = isCanonicalMode(about.settings);
  if (bytes.length === 0 && behind.length === 0 && !isQuoting) return undefined;
  if (isCanonical && (flagsOf(about.settings) & TERMIOS.EXTPROC) !== 0)
    throw waits(about, 'lines are made outside (EXTPROC)');
  if (input.echoBytes !== 0) throw waits(about, 'what was typed has not been echoed yet');
  // Of what has no room, ^S and ^Q have been heeded before anything else is.
  if (behind.length > 0 && (isCanonical || hasFlowControl(about.settings))) {
    throw waits(about, `${behind.length} bytes that were typed have no room in the line`);
  }
  if (!ends.every((end) => isEnd(bytes[end]))) throw waits(about, 'a line has been ended by a character of its own');
  if (isCanonical && (input.isPushed || (ends.length === 0 && input.lineBytes > 0))) {
    throw waits(about, 'a line of it has no end');
  }
  if (ends.length > 0 && isQuoting) throw waits(about, 'the next character is to be taken as it is');
  return { bytes: Buffer.concat([bytes, behind]), ends: [...ends], quotes: isQuoting };
}

/** Of one end that we have: whether {@link readContent} sees what waits there. */
export function showsContent(own: LocalFd): boolean {
  const kernel = KernelObjects.tryOpen();
  return kernel !== undefined && unlessUnknown(() => readTerminalEnd(kernel, own)) !== undefined;
}

function unlessUnknown<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}

/** The kernel moves what was written into the queue by itself, a moment later. */
const ATTEMPTS = 50;
const MOMENT_MS = 1;

function tryReadPair(own: LocalFd): TerminalPair | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  return unlessUnknown(() => {
    // Asking the master has what is on its way to it moved.
    hasEvents(own);
    for (let attempt = 0; ; attempt++) {
      const pair = readTerminalPair(kernel, own);
      const { bytes, behind } = pair.slave.input;
      if (behind.length === 0 || bytes.length >= MAX_QUEUE - 1 || attempt === ATTEMPTS) return pair;
      pause();
    }
  });
}

const waits = ({ name }: ContentQuestion, what: string): QuicksaveError =>
  new QuicksaveError('terminal-content', `Of the terminal ${name} something cannot be saved: ${what}.`, {
    remedy: 'Save it a moment later.',
  });

/** Of the settings here: what ends a line, a file, takes the next character as it is, and stops and starts the output. */
const END_OF_FILE = 4;
const QUOTE = 0x16;
const START = 0x11;
const STOP = 0x13;
const MEANINGFUL = new Set([LINE_FEED, END_OF_FILE, QUOTE, START, STOP]);

/** The settings under which nothing but these characters means anything. Not in canonical mode, none does but the last two with `iflag` IXON. */
function plainSettings(settings: Uint8Array, iflag: number): Buffer {
  const plain = Buffer.from(settings);
  const lflag = plain.readUInt32LE(TERMIOS.c_lflag) & (TERMIOS.ICANON | TERMIOS.EXTPROC);
  plain.writeUInt32LE(iflag, TERMIOS.c_iflag);
  plain.writeUInt32LE(0, TERMIOS.c_oflag);
  plain.writeUInt32LE((lflag & TERMIOS.ICANON) === 0 ? lflag : lflag | TERMIOS.IEXTEN, TERMIOS.c_lflag);
  plain.fill(0, TERMIOS.c_cc, TERMIOS.c_cc + TERMIOS.NCCS);
  plain[TERMIOS.c_cc + TERMIOS.VEOF] = END_OF_FILE;
  plain[TERMIOS.c_cc + TERMIOS.VLNEXT] = QUOTE;
  plain[TERMIOS.c_cc + TERMIOS.VSTART] = START;
  plain[TERMIOS.c_cc + TERMIOS.VSTOP] = STOP;
  return plain;
}

/** What has to be typed in canonical mode so that this waits. Exported for its test. */
export function keystrokes({ bytes, ends }: NonNullable<TerminalContent['typed']>): Buffer {
  const isLineEnd = new Set(ends);
  const keys = [...bytes].flatMap((byte, index) => {
    if (isLineEnd.has(index)) return [byte === NUL ? END_OF_FILE : byte];
    return MEANINGFUL.has(byte) ? [QUOTE, byte] : [byte];
  });
  return Buffer.from(keys);
}

/** Leaves the pair with other settings; `master` is not in packet mode yet, and nobody else has it. */
export function restoreContent(master: LocalFd, settings: Uint8Array, content: TerminalContent): void {
  const { typed: line, shown, stopped } = content;
  if (line === undefined && shown === undefined && stopped === undefined) return;
  const slave = openPeer(master, OPEN.O_RDWR | OPEN.O_NONBLOCK);
  try {
    fcntl(master, FCNTL.F_SETFL, OPEN.O_NONBLOCK, 'set a flag of a terminal');
    const isCanonical = isCanonicalMode(settings);
    if (line !== undefined && isCanonical) typeLines(master, slave.number, settings, line);
    if (line !== undefined && !isCanonical) typeRaw(master, slave.number, settings, line.bytes);
    if (shown !== undefined) {
      if (line === undefined) setTerminalSettings(master, plainSettings(settings, 0));
      writeWhole(slave.number, shown);
    }
    if (stopped === 'typed') {
      setTerminalSettings(master, plainSettings(settings, TERMIOS.IXON));
      flow(master, slave.number, STOP);
    }
    if (stopped === 'called') controlFlow(slave.number, TERMIOS.TCOOFF);
    if (line?.quotes === true) {
      // The last that is typed: what came behind it would be taken as it is. Where no line waits, asking for one has what was typed moved.
      writeWhole(master, Buffer.from([QUOTE]));
      hasEvents(slave.number);
    }
  } finally {
    slave.close();
  }
}

const flagsOf = (settings: Uint8Array): number => Buffer.from(settings).readUInt32LE(TERMIOS.c_lflag);

const hasFlowControl = (settings: Uint8Array): boolean =>
  (Buffer.from(settings).readUInt32LE(TERMIOS.c_iflag) & TERMIOS.IXON) !== 0;

const isCanonicalMode = (settings: Uint8Array): boolean => (flagsOf(settings) & TERMIOS.ICANON) !== 0;

/** The kernel takes what is typed when it comes to it. The output that it stops behind the last character, and starts again, says that it has. */
function typeLines(
  master: LocalFd,
  slave: LocalFd,
  settings: Uint8Array,
  line: NonNullable<TerminalContent['typed']>,
): void {
  setTerminalSettings(master, plainSettings(settings, TERMIOS.IXON));
  writeWhole(master, keystrokes(line));
  flow(master, slave, STOP);
  flow(master, slave, START);
}

/** As much as the queue takes, and the rest waits behind it, as it did. */
function typeRaw(master: LocalFd, slave: LocalFd, settings: Uint8Array, bytes: Uint8Array): void {
  setTerminalSettings(master, plainSettings(settings, 0));
  writeWhole(master, bytes);
  const expected = Math.min(bytes.length, MAX_QUEUE - 1);
  waitUntil('it to take what was typed', () => bytesQueued(slave, FS.FIONREAD) >= expected);
}

/** Types ^S or ^Q, and waits until it has been heeded. */
function flow(master: LocalFd, slave: LocalFd, key: typeof START | typeof STOP): void {
  writeWhole(master, Buffer.from([key]));
  waitUntil('it to stop or start its output', () => isWritable(slave) === (key === START));
}

const PATIENCE_MS = 5000;

function waitUntil(what: string, isThere: () => boolean): void {
  const until = performance.now() + PATIENCE_MS;
  while (!isThere()) {
    if (performance.now() > until) throw notTaken(`waited in vain for ${what}`);
    pause();
  }
}

const pause = (): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, MOMENT_MS);
};

/** The queue takes what it has room for a moment later, and makes room for more. */
function writeWhole(terminal: LocalFd, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    let written: number | undefined;
    waitUntil('room for what waited in it', () => {
      written = tryWriteTerminal(terminal, bytes.subarray(done));
      return written !== undefined;
    });
    done += written ?? 0;
  }
}

const notTaken = (what: string): QuicksaveError =>
  new QuicksaveError('terminal-content', `A terminal cannot be brought back with its content: ${what}.`, {
    remedy: 'Restart it again; if it stays so, report it.',
  });
