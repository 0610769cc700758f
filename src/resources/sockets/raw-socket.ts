/**
 * A raw socket, or one of ICMP for ping: raw(7), icmp(7). Protocol, address and number (getsockname(2)), whom it is connected to (/proc/PID/net, as
 * getpeername(2) does not tell it without a port), options with filters of ICMP, multicast groups, classic filter. Refused: packets or an error
 * that wait, IGMP and routing of multicast packets. It lets packets in when all other sockets stand. Lost: IP_ROUTER_ALERT, which nobody tells.
 * To make a raw one needs CAP_NET_RAW, one of ICMP a group of net.ipv4.ping_group_range.
 */

import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { u8, u32 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { fcntl } from '../../kernel/calls/descriptors.ts';
import { bindSocket, connectSocket, makeSocket, nameOfSocket, tryPeerNameOf } from '../../kernel/calls/sockets.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { readRawSockets } from '../../procfs/raw-sockets.ts';
import type { Problem } from '../../support/errors.ts';
import { addressIn, endText } from '../../support/inet-address.ts';
import { refuseLack } from '../../support/lacking.ts';
import type { DescriptorKind, DescriptorView, OpenDescriptor } from '../resource.ts';
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
import { socketFacts } from './facts.ts';
import { endSchema, isUnbound } from './inet-names.ts';
import { inetProblem } from './inet-obstacles.ts';
import { rawOptions } from './inet-options.ts';
import { collectGroups, groupsSchema, joinGroups, planGroups } from './multicast-groups.ts';
import { madeWith, packetObstacles, planMaking } from './probe.ts';
import { collectFilter, filterSchema, keepOut, letIn } from './socket-filter.ts';
import { collectUntold, hiddenSettingsOf, planUntold, restoreUntold, untoldSchema } from './untold-options.ts';

const schema = v.pipe(
  v.strictObject({
    domain: v.picklist([SOCKET.AF_INET, SOCKET.AF_INET6]),
    type: v.picklist([SOCKET.SOCK_RAW, SOCKET.SOCK_DGRAM]),
    protocol: u8,
    flags: u32,
    /** Whole sockaddrs; the port of ICMP is its number, that of a raw socket its protocol. */
    local: endSchema,
    /** Empty: it is not connected. */
    remote: endSchema,
    buffers: buffersSchema,
    options: optionsSchema(rawOptions),
    untold: v.optional(untoldSchema),
    groups: v.optional(groupsSchema),
    filter: v.optional(filterSchema),
  }),
  v.check(
    ({ domain, type, protocol }) => type === SOCKET.SOCK_RAW || isPing(domain, protocol),
    'must be raw, or of ICMP',
  ),
  v.check(
    ({ domain, local, remote }) =>
      [local, remote].every((end) => end.length === 0 || (end.length === 16) === (domain === 2)),
    'must have addresses of its family',
  ),
);
type RawSocket = v.InferOutput<typeof schema>;

const isPing = (domain: number, protocol: number): boolean =>
  protocol === (domain === SOCKET.AF_INET ? SOCKET.IPPROTO_ICMP : SOCKET.IPPROTO_ICMPV6);

export const rawSocket: DescriptorKind<RawSocket> = {
  kind: 'raw-socket',
  schema,
  recognise: (view) => {
    const facts = socketFacts(view);
    if (facts?.domain !== SOCKET.AF_INET && facts?.domain !== SOCKET.AF_INET6) return false;
    return facts.type === SOCKET.SOCK_RAW || (facts.type === SOCKET.SOCK_DGRAM && isPing(facts.domain, facts.protocol));
  },
  needsRest: true,
  obstacles: (view) => [...packetObstacles(view, 'packets'), ...routesMulticast(view), ...hiddenSettingsOf(view)],
  collect: (open) => {
    const { own, info, pid } = open;
    const local = nameOfSocket(own);
    const { type = 0, protocol = 0 } = socketFacts(open) ?? {};
    return {
      domain: local.length === 16 ? SOCKET.AF_INET : SOCKET.AF_INET6,
      type: type === SOCKET.SOCK_DGRAM ? SOCKET.SOCK_DGRAM : SOCKET.SOCK_RAW,
      protocol,
      flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
      local,
      remote: peerOf(open, type),
      buffers: collectBuffers(own),
      options: collectOptions(own, rawOptions),
      ...collectUntold(own, local.length === 16 ? SOCKET.AF_INET : SOCKET.AF_INET6),
      ...collectGroups(own, pid),
      ...collectFilter(own),
    };
  },
  plan: (state, host, path) => {
    const missing = [
      ...planInterfaces(state.options, path),
      ...planUntold(state.untold, host, path),
      ...planGroups(state.groups ?? [], path),
    ];
    if (missing.length > 0) return missing;
    const rights = state.type === SOCKET.SOCK_RAW ? 'CAP_NET_RAW' : 'a group of net.ipv4.ping_group_range';
    return planMaking(nameOf(state), rights, () => make(state), path);
  },
  restore: (state) => {
    const { flags, buffers, groups = [] } = state;
    return madeWith(make(state), ({ number: made }) => {
      restoreUntold(made, state.untold);
      joinGroups(made, groups);
      restoreBuffers(made, buffers);
      fcntl(made, FCNTL.F_SETFL, flags & STATUS_FLAGS, 'set the flags of a socket');
    });
  },
  settle: ({ filter }, own) => letIn(own, filter),
};

const nameOf = ({ type, protocol, local }: RawSocket): string => {
  if (type === SOCKET.SOCK_DGRAM) return `an ICMP socket of ${endText(local)}`;
  return `a raw socket of IP protocol ${protocol}`;
};

/** Without what others would notice: groups. */
function make({ domain, type, protocol, local, remote, options }: RawSocket): OwnedFd {
  return madeWith(makeSocket(domain, type, protocol), ({ number: made }) => {
    keepOut(made);
    restoreOptions(made, options);
    if (!hasNoAddress(type, local)) bindSocket(made, local, `bind a socket to ${endText(local)}`);
    if (remote.length > 0) connectSocket(made, remote, `connect a socket to ${endText(remote)}`);
  });
}

/** A raw socket always has a port, which is its protocol. */
const hasNoAddress = (type: number, local: Uint8Array): boolean =>
  type === SOCKET.SOCK_RAW ? addressIn(local).every((byte) => byte === 0) : isUnbound(local);

function peerOf({ own, pid, stat }: OpenDescriptor, type: number): Buffer {
  const told = tryPeerNameOf(own);
  if (told !== undefined) return told;
  const isV4 = nameOfSocket(own).length === 16;
  const file = `${type === SOCKET.SOCK_RAW ? 'raw' : 'icmp'}${isV4 ? '' : '6'}`;
  const entry = readRawSockets(pid, file).find(({ inode }) => inode === Number(stat.inode));
  return entry?.isConnected ? entry.remote : Buffer.alloc(0);
}

/** Who has the tables of multicast routing (MRT_INIT, MRT6_INIT) nobody tells: a raw socket of IGMP, or of ICMPv6 where there is routing. */
function routesMulticast(view: DescriptorView): Problem[] {
  const facts = socketFacts(view);
  const mayRoute =
    facts?.type === SOCKET.SOCK_RAW &&
    (facts.protocol === SOCKET.IPPROTO_IGMP ||
      (facts.protocol === SOCKET.IPPROTO_ICMPV6 && linesOf(`/proc/${view.pid}/net/ip6_mr_vif`) > 1));
  if (!mayRoute) return [];
  const what = `It is a raw socket of IP protocol ${facts.protocol}, which may route multicast packets (MRT_INIT)`;
  return [inetProblem(view, 'socket-family', what)];
}

/** A kernel without such routing does not have the file. */
function linesOf(path: string): number {
  try {
    return readFileSync(path, 'latin1').trimEnd().split('\n').length;
  } catch (error) {
    refuseLack(error, path);
    return 0;
  }
}
