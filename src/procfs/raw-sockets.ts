/**
 * Raw and ICMP sockets of a process's network namespace: /proc/PID/net/raw, raw6, icmp and icmp6 (proc_pid_net(5)). They tell whom a socket
 * is connected to also where it was connected without a port, of which getpeername(2) says that it is not (net/ipv4/af_inet.c, inet_getname).
 */
import { readFileSync } from 'node:fs';
import { SOCKET } from '../kernel/abi/socket.ts';
import type { Pid } from '../support/brand.ts';
import { refuseLack } from '../support/lacking.ts';

export interface RawSocketEntry {
  readonly inode: number;
  readonly isConnected: boolean;
  /** A whole sockaddr_in or sockaddr_in6, its scope left out. */
  readonly remote: Buffer;
}

/** `file`: raw, raw6, icmp or icmp6. A kernel without IPv6 does not have all of them. */
export function readRawSockets(pid: Pid, file: string): RawSocketEntry[] {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/net/${file}`, 'latin1');
  } catch (error) {
    refuseLack(error, `/proc/${pid}/net/${file}`);
    return [];
  }
  return parseRawSockets(text);
}

/** net/tcp_states.h, which sockets of other protocols use too. */
const ESTABLISHED = 1;

/** Addresses are words of 32 bits, as the kernel prints numbers of its memory; ports and states are hexadecimal. */
export const parseRawSockets = (text: string): RawSocketEntry[] =>
  text.split('\n').flatMap((line) => {
    const [, address, port, state, inode] =
      /^\s*\d+: \S+ ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+\s+\d+\s+\d+\s+(\d+)\s/.exec(
        line,
      ) ?? [];
    if (address === undefined || port === undefined || state === undefined || inode === undefined) return [];
    return [
      {
        inode: Number(inode),
        isConnected: Number.parseInt(state, 16) === ESTABLISHED,
        remote: sockaddr(Buffer.from(address, 'hex').swap32(), Number.parseInt(port, 16)),
      },
    ];
  });

function sockaddr(address: Buffer, port: number): Buffer {
  const isV4 = address.length === 4;
  const made = Buffer.alloc(isV4 ? 16 : 28);
  made.writeUInt16LE(isV4 ? SOCKET.AF_INET : SOCKET.AF_INET6, 0);
  made.writeUInt16BE(port, 2);
  made.set(address, isV4 ? 4 : 8);
  return made;
}
