/**
 * Options of sockets by table: socket(7), ip(7), ipv6(7), tcp(7), udp(7). Each is read with getsockopt(2) through the duplicate, and set
 * again where the new socket has another value. One that this kind of socket or this kernel does not have is left out.
 */
import * as v from 'valibot';
import { boundedArray, byteString, u32 } from '../image/schema.ts';
import { ERRNO } from '../kernel/abi/errno.ts';
import { SOCKET } from '../kernel/abi/socket.ts';
import { setSocketOption, trySetSocketOption, trySocketOption } from '../kernel/calls/sockets.ts';
import { check } from '../kernel/errors.ts';
import type { LocalFd } from '../support/brand.ts';

export interface OptionEntry {
  readonly level: number;
  readonly option: number;
  /** Of its value: an int, unless it is a struct. */
  readonly sizeBytes: number;
}

export const numbers = (level: number, options: readonly number[]): OptionEntry[] =>
  options.map((option) => ({ level, option, sizeBytes: 4 }));

const struct = (option: number, sizeBytes: number): OptionEntry => ({ level: SOCKET.SOL_SOCKET, option, sizeBytes });

/**
 * Of every socket. SO_RCVBUF, SO_SNDBUF and SO_BUF_LOCK are apart ({@link restoreBuffers}); SO_INCOMING_CPU says where the last packet came
 * in; filters are refused.
 */
export const generalOptions: readonly OptionEntry[] = [
  ...numbers(SOCKET.SOL_SOCKET, [
    SOCKET.SO_DEBUG,
    SOCKET.SO_REUSEADDR,
    SOCKET.SO_DONTROUTE,
    SOCKET.SO_BROADCAST,
    SOCKET.SO_KEEPALIVE,
    SOCKET.SO_OOBINLINE,
    SOCKET.SO_NO_CHECK,
    SOCKET.SO_PRIORITY,
    SOCKET.SO_REUSEPORT,
    SOCKET.SO_PASSCRED,
    SOCKET.SO_RCVLOWAT,
    SOCKET.SO_PASSSEC,
    SOCKET.SO_TIMESTAMP,
    SOCKET.SO_TIMESTAMPNS,
    SOCKET.SO_TIMESTAMP_NEW,
    SOCKET.SO_TIMESTAMPNS_NEW,
    SOCKET.SO_MARK,
    SOCKET.SO_RXQ_OVFL,
    SOCKET.SO_WIFI_STATUS,
    SOCKET.SO_PEEK_OFF,
    SOCKET.SO_NOFCS,
    SOCKET.SO_SELECT_ERR_QUEUE,
    SOCKET.SO_BUSY_POLL,
    SOCKET.SO_ZEROCOPY,
    SOCKET.SO_PREFER_BUSY_POLL,
    SOCKET.SO_BUSY_POLL_BUDGET,
    SOCKET.SO_RESERVE_MEM,
    SOCKET.SO_TXREHASH,
    SOCKET.SO_RCVMARK,
    SOCKET.SO_PASSPIDFD,
    SOCKET.SO_RCVPRIORITY,
    SOCKET.SO_PASSRIGHTS,
  ]),
  struct(SOCKET.SO_LINGER, 8),
  struct(SOCKET.SO_RCVTIMEO, 16),
  struct(SOCKET.SO_SNDTIMEO, 16),
  struct(SOCKET.SO_TIMESTAMPING, 8),
  struct(SOCKET.SO_MAX_PACING_RATE, 8),
  struct(SOCKET.SO_TXTIME, 8),
  struct(SOCKET.SO_BINDTODEVICE, 16),
];

const MAX_OPTIONS = 200;
/** A filter of ICMPv6. */
const MAX_OPTION_BYTES = 32;

/** Those of `table` only, each with as many bytes as it has at most. */
export const optionsSchema = (table: readonly OptionEntry[]) =>
  boundedArray(
    v.pipe(
      v.strictObject({ level: u32, option: u32, value: byteString(MAX_OPTION_BYTES) }),
      v.check(({ level, option, value }) => {
        const entry = table.find((one) => one.level === level && one.option === option);
        return entry !== undefined && value.length <= entry.sizeBytes;
      }, 'must be an option of such a socket'),
    ),
    MAX_OPTIONS,
  );

export interface SavedOption {
  readonly level: number;
  readonly option: number;
  readonly value: Uint8Array;
}

export const collectOptions = (own: LocalFd, table: readonly OptionEntry[]): SavedOption[] =>
  table.flatMap(({ level, option, sizeBytes }) => {
    const value = trySocketOption(own, level, option, sizeBytes);
    return value === undefined ? [] : [{ level, option, value }];
  });

/** Those that differ; `but` are left for later. */
export function restoreOptions(
  made: LocalFd,
  saved: readonly SavedOption[],
  but: readonly Pick<OptionEntry, 'level' | 'option'>[] = [],
): void {
  for (const { level, option, value } of saved) {
    if (but.some((one) => one.level === level && one.option === option)) continue;
    const now = trySocketOption(made, level, option, value.length);
    if (now?.equals(value)) continue;
    setSocketOption(made, level, option, value);
  }
}

export const buffersSchema = v.strictObject({ receiveBytes: u32, sendBytes: u32, locked: u32 });
export type Buffers = v.InferOutput<typeof buffersSchema>;

/** What SO_BUF_LOCK (Linux 5.14) tells: SOCK_SNDBUF_LOCK and SOCK_RCVBUF_LOCK of net/sock.h. */
const LOCK_BITS = 3;

export function collectBuffers(own: LocalFd): Buffers {
  const number = (option: number): number => trySocketOption(own, SOCKET.SOL_SOCKET, option, 4)?.readUInt32LE(0) ?? 0;
  return {
    receiveBytes: number(SOCKET.SO_RCVBUF),
    sendBytes: number(SOCKET.SO_SNDBUF),
    locked: number(SOCKET.SO_BUF_LOCK) & LOCK_BITS,
  };
}

/** The kernel doubles what is set (socket(7)). FORCE needs CAP_NET_ADMIN; without it a limit of the host holds. */
export function restoreBuffers(made: LocalFd, { receiveBytes, sendBytes, locked }: Buffers): void {
  const now = collectBuffers(made);
  if (now.receiveBytes !== receiveBytes) setSize(made, SOCKET.SO_RCVBUFFORCE, SOCKET.SO_RCVBUF, receiveBytes);
  if (now.sendBytes !== sendBytes) setSize(made, SOCKET.SO_SNDBUFFORCE, SOCKET.SO_SNDBUF, sendBytes);
  const lock = int32(locked & LOCK_BITS);
  const result = trySetSocketOption(made, SOCKET.SOL_SOCKET, SOCKET.SO_BUF_LOCK, lock);
  if (result !== -ERRNO.ENOPROTOOPT) check('setsockopt', result, { doing: 'set the locks of the buffers of a socket' });
}

/** Room for whatever is put into the queues while a socket is made. */
export function widenBuffers(made: LocalFd, sizeBytes: number): void {
  setSize(made, SOCKET.SO_RCVBUFFORCE, SOCKET.SO_RCVBUF, sizeBytes);
  setSize(made, SOCKET.SO_SNDBUFFORCE, SOCKET.SO_SNDBUF, sizeBytes);
}

function setSize(made: LocalFd, force: number, plain: number, sizeBytes: number): void {
  const half = int32(Math.min(Math.ceil(sizeBytes / 2), 0x3fff_ffff));
  if (trySetSocketOption(made, SOCKET.SOL_SOCKET, force, half) === 0) return;
  trySetSocketOption(made, SOCKET.SOL_SOCKET, plain, half);
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  return bytes;
}
