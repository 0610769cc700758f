/**
 * A netlink socket: netlink(7). Its number (getsockname(2)), whom it is connected to, groups (NETLINK_LIST_MEMBERSHIPS, Linux 4.2), options and
 * filter; only of protocols that keep nothing in the kernel under its number. Refused: one of others, and one in which messages, a part of
 * a dump or an error wait. Lost: what its groups hear while it is away, and what generic netlink families have noted for its number; told.
 */
import * as v from 'valibot';
import { boundedArray, integerBetween, u32 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { NETLINK, netlinkAbi } from '../../kernel/abi/netlink.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { fcntl } from '../../kernel/calls/descriptors.ts';
import {
  bindSocket,
  connectSocket,
  makeSocket,
  nameOfSocket,
  setSocketOption,
  tryPeerNameOf,
  trySocketOption,
} from '../../kernel/calls/sockets.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { structOf } from '../../kernel/struct.ts';
import { viewOf } from '../../netlink/messages.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import type { DescriptorKind, DescriptorView } from '../resource.ts';
import {
  buffersSchema,
  collectBuffers,
  collectOptions,
  generalOptions,
  int32,
  numbers,
  optionsSchema,
  planInterfaces,
  restoreBuffers,
  restoreOptions,
} from '../socket-options.ts';
import { STATUS_FLAGS } from '../status-flags.ts';
import { socketFacts } from './facts.ts';
import { inetProblem } from './inet-obstacles.ts';
import { madeWith, packetObstacles, planMaking } from './probe.ts';
import { collectFilter, filterSchema, restoreFilter } from './socket-filter.ts';

const options = [
  ...generalOptions,
  ...numbers(NETLINK.SOL_NETLINK, [
    NETLINK.NETLINK_PKTINFO,
    NETLINK.NETLINK_BROADCAST_ERROR,
    NETLINK.NETLINK_NO_ENOBUFS,
    NETLINK.NETLINK_LISTEN_ALL_NSID,
    NETLINK.NETLINK_CAP_ACK,
    NETLINK.NETLINK_EXT_ACK,
    NETLINK.NETLINK_GET_STRICT_CHK,
  ]),
];

/** Those under whose sockets' numbers the kernel keeps nothing, and generic netlink. */
const PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [NETLINK.NETLINK_ROUTE, 'NETLINK_ROUTE'],
  [NETLINK.NETLINK_USERSOCK, 'NETLINK_USERSOCK'],
  [NETLINK.NETLINK_SOCK_DIAG, 'NETLINK_SOCK_DIAG'],
  [NETLINK.NETLINK_XFRM, 'NETLINK_XFRM'],
  [NETLINK.NETLINK_KOBJECT_UEVENT, 'NETLINK_KOBJECT_UEVENT'],
  [NETLINK.NETLINK_GENERIC, 'NETLINK_GENERIC'],
]);

/** As many as any family of this kernel has: generic netlink gives out numbers from 1 on. */
const MAX_GROUP = 1 << 16;

const schema = v.strictObject({
  type: v.picklist([SOCKET.SOCK_RAW, SOCKET.SOCK_DGRAM]),
  protocol: v.pipe(
    u32,
    v.check((protocol) => PROTOCOLS.has(protocol), 'must be a protocol that is saved'),
  ),
  flags: u32,
  /** Its number, 0: it has none yet. */
  port: u32,
  groups: boundedArray(integerBetween(1, MAX_GROUP), MAX_GROUP),
  /** Whom it sends to: a number, and a group as a bit. */
  remote: v.strictObject({ port: u32, groups: u32 }),
  buffers: buffersSchema,
  options: optionsSchema(options),
  filter: v.optional(filterSchema),
});
type NetlinkSocket = v.InferOutput<typeof schema>;

export const netlinkSocket: DescriptorKind<NetlinkSocket> = {
  kind: 'netlink-socket',
  schema,
  recognise: (view) => socketFacts(view)?.domain === SOCKET.AF_NETLINK,
  needsRest: true,
  obstacles: (view) => [...otherProtocol(view), ...packetObstacles(view, 'messages')],
  collect: (open) => {
    const { own, info } = open;
    const facts = socketFacts(open);
    return {
      type: facts?.type === SOCKET.SOCK_DGRAM ? SOCKET.SOCK_DGRAM : SOCKET.SOCK_RAW,
      protocol: facts?.protocol ?? 0,
      flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
      port: endOf(nameOfSocket(own)).port,
      groups: groupsOf(own),
      remote: endOf(tryPeerNameOf(own) ?? Buffer.alloc(0)),
      buffers: collectBuffers(own),
      options: collectOptions(own, options),
      ...collectFilter(own),
    };
  },
  plan: (state, _host, path) => {
    const missing = planInterfaces(state.options, path);
    return missing.length > 0 ? missing : planMaking(nameOf(state), 'CAP_NET_ADMIN', () => make(state), path);
  },
  restore: (state) => make(state),
  remark: ({ protocol, groups, port }, fd) => {
    const isGeneric = protocol === NETLINK.NETLINK_GENERIC;
    const lost = [
      ...(groups.length > 0 ? ['what its groups hear until a restart is lost'] : []),
      ...(groups.length > 0 && isGeneric ? ['its groups have their numbers until the next boot'] : []),
      ...(isGeneric && port !== 0
        ? ['what families have noted for its number, if they have, is not in the image']
        : []),
    ];
    return lost.length === 0 ? undefined : `descriptor ${fd} is a netlink socket: ${lost.join('; ')}`;
  },
};

function otherProtocol(view: DescriptorView): Problem[] {
  const protocol = socketFacts(view)?.protocol;
  if (protocol === undefined || PROTOCOLS.has(protocol)) return [];
  const what = `It is a netlink socket of protocol ${protocol}, under whose number the kernel may keep something`;
  return [inetProblem(view, 'netlink-socket', what)];
}

const nameOf = ({ protocol, port }: NetlinkSocket): string =>
  `a netlink socket (${PROTOCOLS.get(protocol)}${port === 0 ? '' : `, number ${port}`})`;

const sockaddr = structOf(netlinkAbi.structs.sockaddr_nl);

function endOf(address: Buffer): { port: number; groups: number } {
  if (address.length < sockaddr.size) return { port: 0, groups: 0 };
  const { nl_pid, nl_groups } = sockaddr.read(viewOf(address));
  return { port: nl_pid, groups: nl_groups };
}

const addressOf = (port: number, groups = 0): Buffer =>
  sockaddr.encode({ nl_family: SOCKET.AF_NETLINK, nl_pid: port, nl_groups: groups });

/** A bit each, the first group in the lowest. */
function groupsOf(own: LocalFd): number[] {
  const bits = trySocketOption(own, NETLINK.SOL_NETLINK, NETLINK.NETLINK_LIST_MEMBERSHIPS, MAX_GROUP / 8);
  return [...(bits ?? [])].flatMap((byte, index) =>
    Array.from({ length: 8 }, (_, bit) => index * 8 + bit + 1).filter((_, bit) => (byte & (1 << bit)) !== 0),
  );
}

function make(state: NetlinkSocket): OwnedFd {
  const { type, protocol, flags, port, groups, remote, buffers, filter } = state;
  return madeWith(makeSocket(SOCKET.AF_NETLINK, type, protocol), ({ number: made }) => {
    restoreOptions(made, state.options);
    restoreBuffers(made, buffers);
    restoreFilter(made, filter);
    if (port !== 0) bindSocket(made, addressOf(port), `bind ${nameOf(state)}`);
    if (remote.port !== 0 || remote.groups !== 0) {
      connectSocket(made, addressOf(remote.port, remote.groups), 'connect a netlink socket');
    }
    for (const group of groups) {
      setSocketOption(made, NETLINK.SOL_NETLINK, NETLINK.NETLINK_ADD_MEMBERSHIP, int32(group));
    }
    fcntl(made, FCNTL.F_SETFL, flags & STATUS_FLAGS, 'set the flags of a socket');
  });
}
