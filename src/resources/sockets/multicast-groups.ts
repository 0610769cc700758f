/**
 * The multicast groups that a socket is a member of: ip(7), ipv6(7). The kernel lists the groups of each interface (proc_pid_net(5)); whether a
 * socket is in one of them, and whose packets it takes (RFC 3678), it tells who asks for that group (MCAST_MSFILTER). Lost: by which address
 * of the interface an IPv4 group was joined: it is the first.
 */
import { networkInterfaces } from 'node:os';
import * as v from 'valibot';
import { boundedArray, byteString } from '../../image/schema.ts';
import { IP, IPV6 } from '../../kernel/abi/inet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { setSocketOption, tryAskSocket } from '../../kernel/calls/sockets.ts';
import { type Group, readMulticastGroups } from '../../procfs/multicast.ts';
import type { LocalFd, Pid } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { indexOfInterface, interfaceSchema, missingInterfaces } from '../interfaces.ts';

const MAX_GROUPS = 4096;
/** igmp_max_msf and mld_max_msf of ip-sysctl are below. */
const MAX_SOURCES = 1024;

const address = v.pipe(
  byteString(16),
  v.check(({ length }) => length === 4 || length === 16, 'must be an address'),
);

const groupSchema = v.pipe(
  v.strictObject({
    interface: interfaceSchema,
    group: address,
    /** Of all but these; else of these only. */
    excludes: v.boolean(),
    sources: boundedArray(address, MAX_SOURCES),
  }),
  v.check(({ group, sources }) => sources.every(({ length }) => length === group.length), 'must be of one family'),
);
export const groupsSchema = boundedArray(groupSchema, MAX_GROUPS);
export type MulticastGroup = v.InferOutput<typeof groupSchema>;

/** struct group_filter of linux/in.h, with a sockaddr_storage for the group and for each source. */
const GROUP_AT = 8;
const MODE_AT = 136;
const COUNT_AT = 140;
const SOURCES_AT = 144;
const STORAGE_SIZE = 128;
const MCAST_EXCLUDE = 0;
const MCAST_INCLUDE = 1;

const levelOf = ({ length }: Uint8Array): number => (length === 4 ? SOCKET.IPPROTO_IP : SOCKET.IPPROTO_IPV6);
const addressAt = ({ length }: Uint8Array): number => (length === 4 ? 4 : 8);

function writeAddress(into: Buffer, at: number, bytes: Uint8Array): void {
  into.writeUInt16LE(bytes.length === 4 ? SOCKET.AF_INET : SOCKET.AF_INET6, at);
  into.set(bytes, at + addressAt(bytes));
}

function groupFilter(interfaceIndex: number, group: Uint8Array, sourceCount: number): Buffer {
  const filter = Buffer.alloc(SOURCES_AT + sourceCount * STORAGE_SIZE);
  filter.writeUInt32LE(interfaceIndex, 0);
  writeAddress(filter, GROUP_AT, group);
  filter.writeUInt32LE(sourceCount, COUNT_AT);
  return filter;
}

/** Fields of a state: none if it is in no group. `pid`: whose network namespace it is of. */
export function collectGroups(own: LocalFd, pid: Pid): { groups?: MulticastGroup[] } {
  const groups = readMulticastGroups(pid).flatMap((group) => membership(own, group) ?? []);
  return groups.length === 0 ? {} : { groups };
}

function membership(own: LocalFd, group: Group): MulticastGroup | undefined {
  const question = groupFilter(group.interfaceIndex, group.address, MAX_SOURCES);
  const answer = tryAskSocket(own, levelOf(group.address), IP.MCAST_MSFILTER, question);
  if (answer === undefined) return undefined;
  const at = addressAt(group.address);
  const count = answer.readUInt32LE(COUNT_AT);
  if (count > MAX_SOURCES) {
    throw new QuicksaveError(
      'multicast-member',
      `A socket takes packets to ${group.text} by more than ${MAX_SOURCES} sources.`,
      {
        remedy: 'Save it when the program has left the group.',
      },
    );
  }
  return {
    interface: group.interfaceName,
    group: group.address,
    excludes: answer.readUInt32LE(MODE_AT) === MCAST_EXCLUDE,
    sources: Array.from({ length: count }, (_, index) => {
      const start = SOURCES_AT + index * STORAGE_SIZE + at;
      return Buffer.from(answer.subarray(start, start + group.address.length));
    }),
  };
}

export const planGroups = (groups: readonly MulticastGroup[], path: readonly string[]): Problem[] =>
  missingInterfaces(
    groups.map((one) => one.interface),
    path,
  );

export function joinGroups(made: LocalFd, groups: readonly MulticastGroup[]): void {
  for (const one of groups) {
    const index = indexOfInterface(one.interface) ?? 0;
    join(made, one, index);
    if (one.excludes && one.sources.length === 0) continue;
    const filter = groupFilter(index, one.group, one.sources.length);
    filter.writeUInt32LE(one.excludes ? MCAST_EXCLUDE : MCAST_INCLUDE, MODE_AT);
    one.sources.forEach((source, at) => {
      writeAddress(filter, SOURCES_AT + at * STORAGE_SIZE, source);
    });
    setSocketOption(made, levelOf(one.group), IP.MCAST_MSFILTER, filter);
  }
}

/** With an address too, so that a program that leaves by that finds the group (ip_mc_leave_group of net/ipv4/igmp.c). */
function join(made: LocalFd, { interface: name, group }: MulticastGroup, index: number): void {
  const isV4 = group.length === 4;
  const request = Buffer.alloc(isV4 ? 12 : 20);
  request.set(group, 0);
  if (isV4) {
    const own = networkInterfaces()[name]?.find(({ family }) => family === 'IPv4')?.address;
    request.set((own ?? '0.0.0.0').split('.').map(Number), 4);
  }
  request.writeUInt32LE(index, isV4 ? 8 : 16);
  setSocketOption(made, levelOf(group), isV4 ? IP.IP_ADD_MEMBERSHIP : IPV6.IPV6_ADD_MEMBERSHIP, request);
}
