/**
 * What waits in a socket to be received, without taking anything out: MSG_PEEK from rising offsets (SO_PEEK_OFF, socket(7)). The offset
 * belongs to the socket, which others use: it is set and put back in one list of calls that ends whatever happens to us.
 */
import type { LocalFd } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import { ERRNO } from '../abi/errno.ts';
import { SOCKET, socketAbi } from '../abi/socket.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';
import { structOf } from '../struct.ts';
import { bytesQueued } from './descriptors.ts';
import { socketNumber } from './sockets.ts';
import { runToTheEnd, type SurvivingCall } from './surviving-calls.ts';

export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface QueuedMessage {
  readonly bytes: Buffer;
  /** A whole sockaddr; empty where the sender has none, and of a stream. */
  readonly sender: Buffer;
  /** Only where the socket asks for them (SO_PASSCRED). */
  readonly credentials: Credentials | undefined;
  /** How many descriptors come with it (SCM_RIGHTS). */
  readonly descriptors: number;
}

const header = structOf(socketAbi.structs.msghdr);
const vector = structOf(socketAbi.structs.iovec);
const control = structOf(socketAbi.structs.cmsghdr);
const ucred = structOf(socketAbi.structs.ucred);

const SLOTS = 16;
const NAME_SIZE = 128;
/** SCM_MAX_FD descriptors, credentials, time stamps. */
const CONTROL_SIZE = 4096;
const HEAD_SIZE = 128 + NAME_SIZE + CONTROL_SIZE;
const FIRST_SLOT_BYTES = 256 * 1024;
const MAX_MESSAGES = 1 << 16;
const MAX_SLOT_BYTES = 256 * 1024 * 1024;

/**
 * All messages of a socket with borders between them. `endsEmpty`: what is received after the last is nothing, as of packets behind a
 * shutdown. An error that waits (sk_err) would be taken away: the caller looks for it first.
 */
export function peekMessages(socket: LocalFd, endsEmpty: boolean): QueuedMessage[] {
  const original = peekOffsetOf(socket);
  const found: QueuedMessage[] = [];
  let slotBytes = FIRST_SLOT_BYTES;
  for (let offset = 0; ; ) {
    const round = peekRound(socket, { offset, original, slotBytes, slots: SLOTS, endsEmpty });
    if (round.truncated) slotBytes *= 4;
    if (slotBytes > MAX_SLOT_BYTES) throw new QuicksaveError('socket-queue', 'A message in a socket is too long.');
    found.push(...round.messages);
    if (found.length > MAX_MESSAGES) throw new QuicksaveError('socket-queue', 'Too many messages wait in a socket.');
    offset += round.messages.reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (round.ended) return found;
  }
}

/**
 * All bytes of a UNIX stream, in pieces of one sender each where the socket asks for credentials. Never receives beyond the last byte: there an
 * error would be taken away.
 */
export function peekStream(socket: LocalFd): QueuedMessage[] {
  const total = bytesQueued(socket, SOCKET.SIOCINQ);
  const original = peekOffsetOf(socket);
  const found: QueuedMessage[] = [];
  for (let offset = 0; offset < total; ) {
    const slotBytes = total - offset;
    const { messages } = peekRound(socket, { offset, original, slotBytes, slots: 1, endsEmpty: true });
    const [piece] = messages;
    if (piece === undefined)
      throw new QuicksaveError('socket-queue', `Only ${offset} of ${total} bytes in a socket could be seen.`);
    // The sender of a stream has no name here that recvmsg(2) would tell a reader.
    found.push({ ...piece, sender: Buffer.alloc(0) });
    offset += piece.bytes.length;
  }
  return found;
}

/** All bytes that have come in on a TCP connection; never a receive beyond the last. */
export function peekBytes(socket: LocalFd): Buffer {
  const total = bytesQueued(socket, SOCKET.SIOCINQ);
  if (total === 0) return Buffer.alloc(0);
  const memory = NativeMemory.allocate(total);
  try {
    const flags = SOCKET.MSG_PEEK | SOCKET.MSG_DONTWAIT;
    const seen = rawSyscall(SYS.recvfrom, socket, memory.address, total, flags, 0, 0);
    check('recvfrom', seen, { doing: 'look into the queue of a socket' });
    return Buffer.from(memory.bytes.subarray(0, seen));
  } finally {
    memory.free();
  }
}

const peekOffsetOf = (socket: LocalFd): number =>
  socketNumber(socket, SOCKET.SOL_SOCKET, SOCKET.SO_PEEK_OFF, 'the peek offset');

interface Round {
  readonly messages: QueuedMessage[];
  readonly truncated: boolean;
  readonly ended: boolean;
}

interface RoundRequest {
  readonly offset: number;
  readonly original: number;
  readonly slotBytes: number;
  readonly slots: number;
  readonly endsEmpty: boolean;
}

function peekRound(socket: LocalFd, request: RoundRequest): Round {
  const { offset, original, slotBytes, slots } = request;
  const slotSize = HEAD_SIZE + slotBytes;
  const memory = NativeMemory.allocate(16 + slots * slotSize);
  try {
    memory.view.setInt32(0, offset, true);
    memory.view.setInt32(4, original, true);
    const setOffset = (at: number): SurvivingCall => ({
      number: SYS.setsockopt,
      arguments: [socket, SOCKET.SOL_SOCKET, SOCKET.SO_PEEK_OFF, memory.address + at, 4],
    });
    const flags = SOCKET.MSG_PEEK | SOCKET.MSG_DONTWAIT | SOCKET.MSG_CMSG_CLOEXEC;
    const receives = Array.from({ length: slots }, (_, slot): SurvivingCall => {
      const at = 16 + slot * slotSize;
      layOutSlot(memory, at, slotBytes);
      return { number: SYS.recvmsg, arguments: [socket, memory.address + at, flags] };
    });
    const results = runToTheEnd([setOffset(0), ...receives, setOffset(4)]);
    check('setsockopt', results[0] ?? 0, { doing: 'look into the queue of a socket' });
    return readSlots(memory, results.slice(1, -1), request);
  } finally {
    memory.free();
  }
}

function layOutSlot(memory: NativeMemory, at: number, slotBytes: number): void {
  const name = at + 128;
  const controls = name + NAME_SIZE;
  header.write(memory.view, at, {
    msg_name: memory.address + name,
    msg_namelen: NAME_SIZE,
    msg_iov: memory.address + at + 64,
    msg_iovlen: 1,
    msg_control: memory.address + controls,
    msg_controllen: CONTROL_SIZE,
  });
  vector.write(memory.view, at + 64, { iov_base: memory.address + at + HEAD_SIZE, iov_len: slotBytes });
}

/** `ended` with the first call that finds nothing. A message that did not fit ends the round. */
function readSlots(
  memory: NativeMemory,
  results: readonly (number | undefined)[],
  { slotBytes, endsEmpty }: RoundRequest,
): Round {
  const slotSize = HEAD_SIZE + slotBytes;
  const messages: QueuedMessage[] = [];
  const seen = results.map((result, slot) => ({ length: result ?? -ERRNO.EAGAIN, at: 16 + slot * slotSize }));
  // Every peek gives us descriptors of our own, whatever becomes of the round.
  const extras = seen.map(({ length, at }) => (isFailure(length) ? undefined : readControl(memory, at)));
  for (const [slot, { length, at }] of seen.entries()) {
    if (isFailure(length)) {
      if (length !== -ERRNO.EAGAIN) check('recvmsg', length, { doing: 'look into the queue of a socket' });
      return { messages, truncated: false, ended: true };
    }
    const { msg_namelen, msg_flags } = header.read(memory.view, at);
    if ((msg_flags & SOCKET.MSG_TRUNC) !== 0) return { messages, truncated: true, ended: false };
    if (endsEmpty && length === 0) return { messages, truncated: false, ended: true };
    const body = at + HEAD_SIZE;
    messages.push({
      bytes: Buffer.from(memory.bytes.subarray(body, body + length)),
      sender: Buffer.from(memory.bytes.subarray(at + 128, at + 128 + msg_namelen)),
      credentials: extras[slot]?.credentials,
      descriptors: extras[slot]?.descriptors ?? 0,
    });
  }
  return { messages, truncated: false, ended: false };
}

function readControl(memory: NativeMemory, at: number): Pick<QueuedMessage, 'credentials' | 'descriptors'> {
  const { msg_controllen } = header.read(memory.view, at);
  const start = at + 128 + NAME_SIZE;
  let credentials: Credentials | undefined;
  let descriptors = 0;
  for (let offset = 0; offset + control.size <= msg_controllen; ) {
    const { cmsg_len, cmsg_level, cmsg_type } = control.read(memory.view, start + offset);
    const length = cmsg_len;
    if (length < control.size) break;
    const body = start + offset + control.size;
    if (cmsg_level === SOCKET.SOL_SOCKET && cmsg_type === SOCKET.SCM_CREDENTIALS) {
      credentials = ucred.read(memory.view, body);
    } else if (cmsg_level === SOCKET.SOL_SOCKET && cmsg_type === SOCKET.SCM_RIGHTS) {
      const count = (length - control.size) / 4;
      for (let index = 0; index < count; index++) rawSyscall(SYS.close, memory.view.getInt32(body + index * 4, true));
      descriptors += count;
    }
    offset += (length + 7) & ~7;
  }
  return { credentials, descriptors };
}

export interface MessageToSend {
  readonly bytes: Uint8Array;
  /** A whole sockaddr; empty: to whom it is connected. */
  readonly to?: Uint8Array;
  /** In whose name (SCM_CREDENTIALS); another's needs privileges. */
  readonly credentials?: Credentials | undefined;
}

/** sendmsg(2) without waiting: how many bytes were taken, or a negative errno. */
export function trySendMessage(socket: LocalFd, { bytes, to, credentials }: MessageToSend): number {
  const controlSize = credentials === undefined ? 0 : 32;
  const memory = NativeMemory.allocate(HEAD_SIZE + bytes.length);
  try {
    layOutSlot(memory, 0, bytes.length);
    header.write(memory.view, 0, { msg_namelen: to?.length ?? 0, msg_controllen: controlSize });
    if (to === undefined) header.write(memory.view, 0, { msg_name: 0 });
    else memory.bytes.set(to, 128);
    if (credentials !== undefined) {
      const at = 128 + NAME_SIZE;
      const head = { cmsg_len: 28, cmsg_level: SOCKET.SOL_SOCKET, cmsg_type: SOCKET.SCM_CREDENTIALS };
      control.write(memory.view, at, head);
      ucred.write(memory.view, at + control.size, credentials);
    }
    memory.bytes.set(bytes, HEAD_SIZE);
    return rawSyscall(SYS.sendmsg, socket, memory.address, SOCKET.MSG_DONTWAIT | SOCKET.MSG_NOSIGNAL);
  } finally {
    memory.free();
  }
}
