/**
 * What waits in a socket to be received, without taking anything out: MSG_PEEK from rising offsets (SO_PEEK_OFF, socket(7)). The offset
 * belongs to the socket, which others use: it is set and put back in one list of calls that ends whatever happens to us. So is SO_PASSCRED of
 * a UNIX socket, without which nobody is told the credentials that a message has. Descriptors that a message carries are copied into our table
 * by each look at it (unix_peek_fds of net/unix/af_unix.c).
 */
import type { LocalFd } from '../../support/brand.ts';
import { QuicksaveError } from '../../support/errors.ts';
import { ERRNO } from '../abi/errno.ts';
import { SOCKET, socketAbi } from '../abi/socket.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { NativeMemory } from '../native-memory.ts';
import { OwnedFd } from '../owned-fd.ts';
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
  /** Of UNIX sockets, where one of the two asked for them (SO_PASSCRED) when it was sent, or the sender has given them. */
  readonly credentials: Credentials | undefined;
  /** Those that come with it (SCM_RIGHTS): duplicates of ours. */
  readonly descriptors: readonly OwnedFd[];
}

export function closeDescriptorsOf(messages: readonly QueuedMessage[]): void {
  for (const { descriptors } of messages) for (const one of descriptors) one.close();
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
  const original = settingsOf(socket);
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
 * All bytes of a UNIX stream, in pieces of one sender each, where that is told. Those that carry descriptors are pieces of their own. Never
 * receives beyond the last byte: there an error would be taken away.
 */
export function peekStream(socket: LocalFd): QueuedMessage[] {
  const total = bytesQueued(socket, SOCKET.SIOCINQ);
  const original = settingsOf(socket);
  const found: QueuedMessage[] = [];
  const look = (offset: number, slotBytes: number, isCut = false): QueuedMessage | undefined =>
    peekRound(socket, { offset, original, slotBytes, slots: 1, endsEmpty: true, isCut }).messages[0];
  for (let offset = 0; offset < total; ) {
    const seen = look(offset, total - offset);
    if (seen === undefined)
      throw new QuicksaveError('socket-queue', `Only ${offset} of ${total} bytes in a socket could be seen.`);
    // The sender of a stream has no name here that recvmsg(2) would tell a reader.
    const piece = { ...seen, sender: Buffer.alloc(0) };
    const plainBytes = piece.descriptors.length === 0 ? 0 : bytesBefore(piece, (most) => look(offset, most, true));
    if (plainBytes > 0) found.push({ ...piece, bytes: piece.bytes.subarray(0, plainBytes), descriptors: [] });
    found.push({ ...piece, bytes: piece.bytes.subarray(plainBytes) });
    offset += piece.bytes.length;
  }
  return found;
}

/**
 * A receive goes on from bytes without descriptors into those that have some, and ends behind them (unix_stream_read_generic): who receives less
 * gets the descriptors with the first of the latter. How many there are before that is told by a receive into memory that is one byte too short:
 * what was written together and does not fit is not received at all. (A short look would not tell: it takes the descriptors behind it too.)
 */
const bytesBefore = (piece: QueuedMessage, lookAtLess: (most: number) => QueuedMessage | undefined): number =>
  lookAtLess(piece.bytes.length - 1)?.bytes.length ?? 0;

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

/** What is changed while we look, as it was. */
interface Settings {
  readonly peekOffset: number;
  /** Undefined where there is nothing to be told. */
  readonly passesCredentials: number | undefined;
}

function settingsOf(socket: LocalFd): Settings {
  const ask = (option: number, what: string): number => socketNumber(socket, SOCKET.SOL_SOCKET, option, what);
  const isUnix = ask(SOCKET.SO_DOMAIN, 'the family') === SOCKET.AF_UNIX;
  return {
    peekOffset: ask(SOCKET.SO_PEEK_OFF, 'the peek offset'),
    passesCredentials: isUnix ? ask(SOCKET.SO_PASSCRED, 'whether it asks for credentials') : undefined,
  };
}

interface Round {
  readonly messages: QueuedMessage[];
  readonly truncated: boolean;
  readonly ended: boolean;
}

interface RoundRequest {
  readonly offset: number;
  readonly original: Settings;
  readonly slotBytes: number;
  readonly slots: number;
  readonly endsEmpty: boolean;
  /** Behind the slot there is no memory, and one byte more is asked for. */
  readonly isCut?: boolean;
}

function peekRound(socket: LocalFd, request: RoundRequest): Round {
  const { offset, original, slotBytes, slots, isCut = false } = request;
  const slotSize = HEAD_SIZE + slotBytes;
  const memory = NativeMemory.allocate(16 + slots * slotSize);
  try {
    memory.view.setInt32(0, offset, true);
    memory.view.setInt32(4, original.peekOffset, true);
    memory.view.setInt32(8, 1, true);
    memory.view.setInt32(12, original.passesCredentials ?? 0, true);
    const set = (option: number, at: number): SurvivingCall => ({
      number: SYS.setsockopt,
      arguments: [socket, SOCKET.SOL_SOCKET, option, memory.address + at, 4],
    });
    const isTold = original.passesCredentials !== 0;
    const before = [set(SOCKET.SO_PEEK_OFF, 0), ...(isTold ? [] : [set(SOCKET.SO_PASSCRED, 8)])];
    const behind = [...(isTold ? [] : [set(SOCKET.SO_PASSCRED, 12)]), set(SOCKET.SO_PEEK_OFF, 4)];
    const flags = SOCKET.MSG_PEEK | SOCKET.MSG_DONTWAIT | SOCKET.MSG_CMSG_CLOEXEC;
    const receives = Array.from({ length: slots }, (_, slot): SurvivingCall => {
      const at = 16 + slot * slotSize;
      layOutSlot(memory, at, slotBytes, isCut ? 2 : 1);
      return { number: SYS.recvmsg, arguments: [socket, memory.address + at, flags] };
    });
    const results = runToTheEnd([...before, ...receives, ...behind]);
    check('setsockopt', results[0] ?? 0, { doing: 'look into the queue of a socket' });
    return readSlots(memory, results.slice(before.length, before.length + slots), request);
  } finally {
    memory.free();
  }
}

/** The second part of two is a byte at address 0, where nothing can be. */
function layOutSlot(memory: NativeMemory, at: number, slotBytes: number, parts: 1 | 2): void {
  const name = at + 128;
  const controls = name + NAME_SIZE;
  header.write(memory.view, at, {
    msg_name: memory.address + name,
    msg_namelen: NAME_SIZE,
    msg_iov: memory.address + at + 64,
    msg_iovlen: parts,
    msg_control: memory.address + controls,
    msg_controllen: CONTROL_SIZE,
  });
  vector.write(memory.view, at + 64, { iov_base: memory.address + at + HEAD_SIZE, iov_len: slotBytes });
  vector.write(memory.view, at + 64 + vector.size, { iov_base: 0, iov_len: 1 });
}

/** `ended` with the first call that finds nothing. A message that did not fit ends the round. */
function readSlots(
  memory: NativeMemory,
  results: readonly (number | undefined)[],
  { slotBytes, endsEmpty, isCut = false }: RoundRequest,
): Round {
  const slotSize = HEAD_SIZE + slotBytes;
  const messages: QueuedMessage[] = [];
  const seen = results.map((result, slot) => ({ length: result ?? -ERRNO.EAGAIN, at: 16 + slot * slotSize }));
  // Every peek gives us descriptors of our own, whatever becomes of the round.
  const extras = seen.map(({ length, at }) => (isFailure(length) ? undefined : readControl(memory, at)));
  const ending = (reason: 'truncated' | 'ended'): Round => {
    for (const extra of extras.slice(messages.length)) for (const one of extra?.descriptors ?? []) one.close();
    return { messages, truncated: reason === 'truncated', ended: reason === 'ended' };
  };
  for (const [slot, { length, at }] of seen.entries()) {
    if (isFailure(length)) {
      const isEnd = length === -ERRNO.EAGAIN || (isCut && length === -ERRNO.EFAULT);
      if (!isEnd) check('recvmsg', length, { doing: 'look into the queue of a socket' });
      return ending('ended');
    }
    const { msg_namelen, msg_flags } = header.read(memory.view, at);
    if ((msg_flags & SOCKET.MSG_TRUNC) !== 0) return ending('truncated');
    const { credentials, descriptors = [] } = extras[slot] ?? {};
    if (endsEmpty && length === 0 && descriptors.length === 0) return ending('ended');
    const body = at + HEAD_SIZE;
    messages.push({
      bytes: Buffer.from(memory.bytes.subarray(body, body + length)),
      sender: Buffer.from(memory.bytes.subarray(at + 128, at + 128 + msg_namelen)),
      credentials,
      descriptors,
    });
  }
  return { messages, truncated: false, ended: false };
}

function readControl(memory: NativeMemory, at: number): Pick<QueuedMessage, 'credentials' | 'descriptors'> {
  const { msg_controllen } = header.read(memory.view, at);
  const start = at + 128 + NAME_SIZE;
  let credentials: Credentials | undefined;
  const descriptors: OwnedFd[] = [];
  for (let offset = 0; offset + control.size <= msg_controllen; ) {
    const { cmsg_len, cmsg_level, cmsg_type } = control.read(memory.view, start + offset);
    const length = cmsg_len;
    if (length < control.size) break;
    const body = start + offset + control.size;
    if (cmsg_level === SOCKET.SOL_SOCKET && cmsg_type === SOCKET.SCM_CREDENTIALS) {
      const told = ucred.read(memory.view, body);
      // No process: nobody has given any.
      if (told.pid !== 0) credentials = told;
    } else if (cmsg_level === SOCKET.SOL_SOCKET && cmsg_type === SOCKET.SCM_RIGHTS) {
      const count = (length - control.size) / 4;
      for (let index = 0; index < count; index++)
        descriptors.push(new OwnedFd(memory.view.getInt32(body + index * 4, true)));
    } else if (cmsg_level === SOCKET.SOL_SOCKET && cmsg_type === SOCKET.SCM_PIDFD) {
      rawSyscall(SYS.close, memory.view.getInt32(body, true));
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
  /** That go with it (SCM_RIGHTS), at most {@link MAX_DESCRIPTORS_PER_MESSAGE}. */
  readonly descriptors?: readonly LocalFd[];
}

/** sendmsg(2) without waiting: how many bytes were taken, or a negative errno. */
export function trySendMessage(socket: LocalFd, { bytes, to, credentials, descriptors = [] }: MessageToSend): number {
  const memory = NativeMemory.allocate(HEAD_SIZE + bytes.length);
  try {
    layOutSlot(memory, 0, bytes.length, 1);
    const msg_controllen = writeControl(memory, 128 + NAME_SIZE, credentials, descriptors);
    header.write(memory.view, 0, { msg_namelen: to?.length ?? 0, msg_controllen });
    if (to === undefined) header.write(memory.view, 0, { msg_name: 0 });
    else memory.bytes.set(to, 128);
    memory.bytes.set(bytes, HEAD_SIZE);
    return rawSyscall(SYS.sendmsg, socket, memory.address, SOCKET.MSG_DONTWAIT | SOCKET.MSG_NOSIGNAL);
  } finally {
    memory.free();
  }
}

/** How many bytes of it there are (cmsg(3)). */
function writeControl(
  memory: NativeMemory,
  start: number,
  credentials: Credentials | undefined,
  descriptors: readonly LocalFd[],
): number {
  let at = start;
  const add = (cmsg_type: number, sizeBytes: number): number => {
    const body = at + control.size;
    control.write(memory.view, at, { cmsg_len: control.size + sizeBytes, cmsg_level: SOCKET.SOL_SOCKET, cmsg_type });
    at = body + ((sizeBytes + 7) & ~7);
    return body;
  };
  if (credentials !== undefined) ucred.write(memory.view, add(SOCKET.SCM_CREDENTIALS, ucred.size), credentials);
  if (descriptors.length > 0) {
    const body = add(SOCKET.SCM_RIGHTS, descriptors.length * 4);
    descriptors.forEach((fd, index) => {
      memory.view.setInt32(body + index * 4, fd, true);
    });
  }
  return at - start;
}
