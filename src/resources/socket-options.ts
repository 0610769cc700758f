/**
 * Options of sockets by table: socket(7), ip(7), ipv6(7), tcp(7), udp(7). Each is read with getsockopt(2) through the duplicate, and set
 * again where the new socket has another value. One that this kind of socket or this kernel does not have is left out.
 */
import * as v from 'valibot';
import { boundedArray, byteString, u32 } from '../image/schema.ts';
import { ERRNO } from '../kernel/abi/errno.ts';
import { IP, IPV6 } from '../kernel/abi/inet.ts';
import { SOCKET } from '../kernel/abi/socket.ts';
import { setSocketOption, trySetSocketOption, trySocketOption } from '../kernel/calls/sockets.ts';
import { check } from '../kernel/errors.ts';
import type { LocalFd } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { indexOfInterface, missingInterfaces, nameOfInterface } from './interfaces.ts';

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
  struct(SOCKET.SO_TIMESTAMPING_NEW, 8),
  struct(SOCKET.SO_MAX_PACING_RATE, 8),
  struct(SOCKET.SO_TXTIME, 8),
  struct(SOCKET.SO_BINDTODEVICE, 16),
];

/** Of TCP those that count bytes (SOF_TIMESTAMPING_OPT_ID) are only for a connection (sock_set_timestamping of net/core/sock.c). */
export const stampOptions = numbers(SOCKET.SOL_SOCKET, [SOCKET.SO_TIMESTAMPING, SOCKET.SO_TIMESTAMPING_NEW]);

const MAX_OPTIONS = 200;
/** An extension header of IPv6 (RFC 8200). */
export const MAX_OPTION_BYTES = 2048;

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
    // Nothing at all: so it begins.
    if (value === undefined || value.length === 0) return [];
    return [{ level, option, value: withName({ level, option, value }) }];
  });

/** Options that are the number of an interface, which is of one boot: in the image they are its name. */
const INTERFACES = [
  { level: SOCKET.IPPROTO_IP, option: IP.IP_UNICAST_IF, isOfNetwork: true },
  { level: SOCKET.IPPROTO_IPV6, option: IPV6.IPV6_UNICAST_IF, isOfNetwork: true },
  { level: SOCKET.IPPROTO_IPV6, option: IPV6.IPV6_MULTICAST_IF, isOfNetwork: false },
];
const NUMBER_SIZE = 4;
/** IFNAMSIZ, with a NUL. */
export const INTERFACE_NAME_SIZE = 16;

const interfaceOption = (of: SavedOption) =>
  INTERFACES.find(({ level, option }) => level === of.level && option === of.option);

/** None, and one that is gone, stay a number. */
function withName(saved: SavedOption): Buffer {
  const value = Buffer.from(saved.value);
  const entry = interfaceOption(saved);
  if (entry === undefined || value.every((byte) => byte === 0)) return value;
  const name = nameOfInterface(entry.isOfNetwork ? value.readUInt32BE(0) : value.readUInt32LE(0));
  if (name === undefined) return value;
  const named = Buffer.alloc(INTERFACE_NAME_SIZE);
  named.write(name);
  return named;
}

/** SO_BINDTODEVICE, and those options that are in the image as a name, have a NUL. */
const nameIn = (value: Uint8Array): string => Buffer.from(value).toString('latin1').split('\0')[0] ?? '';

function withNumber(saved: SavedOption): Buffer {
  const value = Buffer.from(saved.value);
  const entry = interfaceOption(saved);
  if (entry === undefined || value.length === NUMBER_SIZE) return value;
  const number = Buffer.alloc(NUMBER_SIZE);
  const index = indexOfInterface(nameIn(value)) ?? 0;
  if (entry.isOfNetwork) number.writeUInt32BE(index, 0);
  else number.writeUInt32LE(index, 0);
  return number;
}

/** The interfaces that a socket is bound to or sends by, where this host does not have them. */
export const planInterfaces = (saved: readonly SavedOption[], path: readonly string[]): Problem[] =>
  missingInterfaces(
    saved.flatMap((one) => {
      const isNamed = interfaceOption(one) !== undefined && one.value.length > NUMBER_SIZE;
      const isBound = one.level === SOCKET.SOL_SOCKET && one.option === SOCKET.SO_BINDTODEVICE;
      const name = isNamed || isBound ? nameIn(one.value) : '';
      return name === '' || name.includes('/') ? [] : [name];
    }),
    path,
  );

/** Those that differ; `but` are left for later. */
export function restoreOptions(
  made: LocalFd,
  saved: readonly SavedOption[],
  but: readonly Pick<OptionEntry, 'level' | 'option'>[] = [],
): void {
  for (const one of saved) {
    const { level, option } = one;
    if (but.some((other) => other.level === level && other.option === option)) continue;
    const value = withNumber(one);
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
