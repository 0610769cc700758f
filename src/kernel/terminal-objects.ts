/**
 * The two ends of a pseudo-terminal in the kernel's own structs (tty_struct, n_tty_data; drivers/tty/n_tty.c, drivers/tty/pty.c): what waits in them, which no
 * call shows without taking it away. Only to be looked at while nobody who has it open moves.
 */
import type { LocalFd } from '../support/brand.ts';
import { type KernelObjects, type KernelStruct, UnknownKernelObject } from './kernel-objects.ts';

/** N_TTY_BUF_SIZE, a power of two: positions in the queue count on, and are taken modulo it. */
const QUEUE_SIZE = 4096;
const MAX_BUFFERS = 4096;

/** What has come in at one end. */
export interface InputQueue {
  /** In canonical mode the lines, then what has been typed of the next one. */
  readonly bytes: Buffer;
  /** Where in {@link bytes} the characters are that end a line; none but in canonical mode. */
  readonly ends: readonly number[];
  /** So many of them are of lines that a reader gets. */
  readonly lineBytes: number;
  /** The next character is taken as it is (VLNEXT). */
  readonly isQuoting: boolean;
  /** A line was ended by a change of the settings, wherever it was. */
  readonly isPushed: boolean;
  /** Characters whose echo waits. */
  readonly echoBytes: number;
  /** What the queue had no room for. */
  readonly behind: Buffer;
}

export interface TerminalEnd {
  readonly input: InputQueue;
  /** Its output stands still: by ^S, or by TCXONC (`isStoppedByCall`). */
  readonly isStopped: boolean;
  readonly isStoppedByCall: boolean;
  /** Of packet mode (TIOCPKT): what the other end has yet to be told. */
  readonly packetStatus: number;
}

export interface TerminalPair {
  readonly master: TerminalEnd;
  readonly slave: TerminalEnd;
}

/** Of a descriptor of ours. Throws {@link UnknownKernelObject}, as all of these do. */
export const readTerminalEnd = (kernel: KernelObjects, own: LocalFd): TerminalEnd =>
  endOf(kernel, terminalOf(kernel, own));

function terminalOf(kernel: KernelObjects, own: LocalFd): KernelStruct {
  const opened = kernel.struct('tty_file_private', kernel.fileOf(own).u64('private_data'));
  return kernel.struct('tty_struct', opened.u64('tty'));
}

export function readTerminalPair(kernel: KernelObjects, master: LocalFd): TerminalPair {
  const own = terminalOf(kernel, master);
  const other = own.u64('link');
  if (other === 0n) throw new UnknownKernelObject('a master has no slave');
  return { master: endOf(kernel, own), slave: endOf(kernel, kernel.struct('tty_struct', other)) };
}

function endOf(kernel: KernelObjects, tty: KernelStruct): TerminalEnd {
  return {
    input: inputOf(kernel, tty),
    isStopped: tty.isSet('flow.stopped'),
    isStoppedByCall: tty.isSet('flow.tco_stopped'),
    packetStatus: tty.u8('ctrl.pktstatus'),
  };
}

function inputOf(kernel: KernelObjects, tty: KernelStruct): InputQueue {
  // The queue moves into the line discipline by itself: what is behind it is read last, and must still be what it was.
  const discipline = kernel.struct('n_tty_data', tty.u64('disc_data'));
  const isCanonical = discipline.isSet('icanon');
  const [tail, head, lines] = [discipline.u64('read_tail'), discipline.u64('read_head'), discipline.u64('canon_head')];
  const length = Number(head - tail);
  if (length < 0 || length > QUEUE_SIZE) throw new UnknownKernelObject('the queue of a terminal is longer than it is');
  const places = Array.from({ length }, (_, index) => Number((tail + BigInt(index)) % BigInt(QUEUE_SIZE)));
  const queue = discipline.bytesOf('read_buf', QUEUE_SIZE);
  const flags = discipline.bytesOf('read_flags', QUEUE_SIZE / 8);
  const isEnd = (place: number): boolean => (((flags[place >> 3] ?? 0) >> (place & 7)) & 1) === 1;
  return {
    bytes: Buffer.from(places.map((place) => queue[place] ?? 0)),
    ends: isCanonical ? places.flatMap((place, index) => (isEnd(place) ? [index] : [])) : [],
    lineBytes: isCanonical ? Number(lines - tail) : length,
    isQuoting: discipline.isSet('lnext'),
    isPushed: discipline.isSet('push'),
    echoBytes: Number(discipline.u64('echo_head') - discipline.u64('echo_tail')),
    behind: behindQueue(kernel, tty),
  };
}

/** The chain of buffers (tty_buffer) that the other end's writes go into first. */
function behindQueue(kernel: KernelObjects, tty: KernelStruct): Buffer {
  const port = kernel.struct('tty_port', tty.u64('port'));
  const found: Buffer[] = [];
  for (let next = port.u64('buf.head'); next !== 0n; ) {
    if (found.length === MAX_BUFFERS) throw new UnknownKernelObject('the buffers of a terminal have no end');
    const buffer = kernel.struct('tty_buffer', next);
    const [read, commit] = [buffer.u32('read'), buffer.u32('commit')];
    if (commit > read) {
      found.push(kernel.bytes(next + BigInt(buffer.offsetOf('data') + read), commit - read));
    }
    next = buffer.u64('next');
  }
  return Buffer.concat(found);
}
