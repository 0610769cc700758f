/**
 * A UDP or UDP-Lite socket: udp(7), udplite(7). Addresses from getsockname(2) and getpeername(2), options and filters from getsockopt(2),
 * multicast groups as multicast-groups.ts says, and datagrams that wait in it as udp-queue.ts says. Lost: those that cannot be put back, as UDP may
 * lose them on the way; the summary says how many. An error that waits (ICMP) is lost too, and what UDP_CORK holds back is refused.
 */
import * as v from 'valibot';
import { u32 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { bytesQueued, fcntl } from '../../kernel/calls/descriptors.ts';
import { peekMessages } from '../../kernel/calls/socket-queues.ts';
import {
  bindSocket,
  connectSocket,
  hasPendingError,
  makeSocket,
  nameOfSocket,
  socketNumber,
  tryPeerNameOf,
} from '../../kernel/calls/sockets.ts';
import { readStatus } from '../../procfs/status.ts';
import { asPid, type LocalFd } from '../../support/brand.ts';
import { endText } from '../../support/inet-address.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorKind } from '../resource.ts';
import {
  buffersSchema,
  collectBuffers,
  collectOptions,
  optionsSchema,
  planInterfaces,
  restoreBuffers,
  restoreOptions,
} from '../socket-options.ts';
import { STATUS_FLAGS } from '../status-flags.ts';
import { elsewhere, lookThrough, socketFacts } from './facts.ts';
import { endSchema, isUnbound, planEnd } from './inet-names.ts';
import { udpOptions } from './inet-options.ts';
import { collectGroups, groupsSchema, joinGroups, planGroups } from './multicast-groups.ts';
import { collectFilter, filterSchema, hiddenFilter, restoreFilter } from './socket-filter.ts';
import { datagramsSchema, isOfThisHost, mayBePutBack, putDatagramsBack } from './udp-queue.ts';
import { collectUntold, hiddenSettingsOf, planUntold, restoreUntold, untoldSchema } from './untold-options.ts';

const entries = {
  domain: v.picklist([SOCKET.AF_INET, SOCKET.AF_INET6]),
  /** Default: UDP. */
  protocol: v.optional(v.picklist([SOCKET.IPPROTO_UDP, SOCKET.IPPROTO_UDPLITE])),
  flags: u32,
  /** A whole sockaddr; empty where it has none. */
  local: endSchema,
  remote: endSchema,
  /** How many datagrams waited in it that are not in the image. */
  waiting: u32,
  /** Those that are. */
  queue: v.optional(datagramsSchema),
  buffers: buffersSchema,
  options: optionsSchema(udpOptions),
  untold: v.optional(untoldSchema),
  groups: v.optional(groupsSchema),
  filter: v.optional(filterSchema),
};
const schema = v.pipe(
  v.strictObject(entries),
  v.check(
    ({ queue = [], ...socket }) => queue.every((one) => mayBePutBack(socket, one)),
    'must have datagrams that can be put back',
  ),
);
type UdpSocket = v.InferOutput<typeof schema>;

export const udpSocket: DescriptorKind<UdpSocket> = {
  kind: 'udp-socket',
  schema,
  recognise: (view) => {
    const facts = socketFacts(view);
    return facts !== undefined && isInet(facts.domain) && facts.type === SOCKET.SOCK_DGRAM && isUdp(facts.protocol);
  },
  needsRest: true,
  obstacles: (view) => [
    ...hiddenSettingsOf(view),
    ...heldOutside(view, 'a socket'),
    ...elsewhere(view),
    ...hiddenFilter(view),
    ...(lookThrough(view, isCorked)
      ? [
          {
            code: 'corked-datagram' as const,
            path: [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target],
            message: 'A datagram is being put together in it (UDP_CORK, MSG_MORE), which cannot be saved.',
            remedy: 'Save it when the program has sent the datagram.',
          },
        ]
      : []),
  ],
  collect: ({ own, info, pid }) => {
    const socket = {
      domain: domainOf(nameOfSocket(own)),
      ...protocolOf(own),
      flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
      local: nameOfSocket(own),
      remote: tryPeerNameOf(own) ?? Buffer.alloc(0),
      buffers: collectBuffers(own),
      options: collectOptions(own, udpOptions),
      ...collectUntold(own, domainOf(nameOfSocket(own))),
      ...collectGroups(own, pid),
      ...collectFilter(own),
    };
    // The first look would take the error away: then it is only known whether there is any datagram.
    const cannotLook = hasPendingError(own);
    const found = cannotLook ? [] : peekMessages(own, false).map(({ bytes, sender }) => ({ bytes, sender }));
    const unseen = cannotLook && bytesQueued(own, SOCKET.SIOCINQ) > 0 ? 1 : 0;
    const queue = found.filter((one) => mayBePutBack(socket, one));
    return { ...socket, waiting: found.length + unseen - queue.length, ...(queue.length === 0 ? {} : { queue }) };
  },
  plan: ({ domain, protocol = SOCKET.IPPROTO_UDP, local, options, untold, groups = [] }, host, path) => {
    const missing = [...planInterfaces(options, path), ...planUntold(untold, host, path), ...planGroups(groups, path)];
    if (missing.length > 0) return missing;
    return planEnd({ domain, type: SOCKET.SOCK_DGRAM, protocol, local, options }, path);
  },
  restore: (state) => {
    const { domain, protocol = SOCKET.IPPROTO_UDP, flags, local, remote, buffers, options, groups = [] } = state;
    const made = makeSocket(domain, SOCKET.SOCK_DGRAM, protocol);
    restoreOptions(made.number, options);
    if (!isUnbound(local)) bindSocket(made.number, local, `bind a socket to ${endText(local)}`);
    if (remote.length > 0) connectSocket(made.number, remote, `connect a socket to ${endText(remote)}`);
    restoreUntold(made.number, state.untold);
    joinGroups(made.number, groups);
    if (mayWritePackets() && isOfThisHost(local)) putDatagramsBack(made.number, state, state.queue ?? []);
    restoreBuffers(made.number, buffers);
    restoreFilter(made.number, state.filter);
    fcntl(made.number, FCNTL.F_SETFL, flags & STATUS_FLAGS, 'set the flags of a socket');
    return made;
  },
  remark: ({ waiting, local, queue = [] }, fd, host) => {
    const reason = host === undefined ? undefined : whyNotPutBack(host.status.capEffective, local);
    const lost = waiting + (reason === undefined ? 0 : queue.length);
    if (lost === 0) return undefined;
    const what = lost === 1 ? 'a datagram' : `${lost} datagrams`;
    const why = waiting === 0 ? reason : 'they are not in the image';
    return `descriptor ${fd} (UDP ${endText(local)}) had ${what} to be received: ${why}`;
  },
};

/** capabilities(7) */
const CAP_NET_RAW = 1n << 13n;

const whyNotPutBack = (capEffective: bigint, local: Uint8Array): string | undefined => {
  if ((capEffective & CAP_NET_RAW) === 0n) return 'to put them back needs CAP_NET_RAW';
  return isOfThisHost(local) ? undefined : 'this host does not have that address';
};

const mayWritePackets = (): boolean => (readStatus(asPid(process.pid)).capEffective & CAP_NET_RAW) !== 0n;

const isUdp = (protocol: number): boolean => protocol === SOCKET.IPPROTO_UDP || protocol === SOCKET.IPPROTO_UDPLITE;

function protocolOf(own: LocalFd): { protocol?: typeof SOCKET.IPPROTO_UDPLITE } {
  const protocol = socketNumber(own, SOCKET.SOL_SOCKET, SOCKET.SO_PROTOCOL, 'the protocol');
  return protocol === SOCKET.IPPROTO_UDPLITE ? { protocol } : {};
}

const isInet = (domain: number): boolean => domain === SOCKET.AF_INET || domain === SOCKET.AF_INET6;

const domainOf = (address: Buffer): 2 | 10 =>
  address.readUInt16LE(0) === SOCKET.AF_INET ? SOCKET.AF_INET : SOCKET.AF_INET6;

/** Bytes on their way out of it count too, for some microseconds. */
function isCorked(own: LocalFd): boolean {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (bytesQueued(own, SOCKET.SIOCOUTQ) === 0) return false;
    Atomics.wait(nothing, 0, 0, 1);
  }
  return true;
}

const ATTEMPTS = 5;
const nothing = new Int32Array(new SharedArrayBuffer(4));
