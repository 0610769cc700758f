/**
 * A packet socket: packet(7). Type, protocol and interface (getsockname(2)), options and filter, and what it has asked of interfaces
 * (PACKET_ADD_MEMBERSHIP; sock_diag(7), CONFIG_PACKET_DIAG). Refused: rings, fanout groups, packets or an error that wait. It is bound, and
 * lets packets in, when all else stands. Lost: what it has counted (PACKET_STATISTICS). To make it needs CAP_NET_RAW.
 */
import * as v from 'valibot';
import { boundedArray, byteString, integerBetween, u16, u32 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { PACKET, packetAbi } from '../../kernel/abi/packet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { fcntl } from '../../kernel/calls/descriptors.ts';
import { bindSocket, makeSocket, nameOfSocket, setSocketOption } from '../../kernel/calls/sockets.ts';
import { KernelError } from '../../kernel/errors.ts';
import { structOf } from '../../kernel/struct.ts';
import { viewOf } from '../../netlink/messages.ts';
import { listPacketSockets, type PacketSocketEntry } from '../../netlink/packet-sockets.ts';
import type { LocalFd } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { indexOfInterface, interfaceSchema, missingInterfaces, nameOfInterface } from '../interfaces.ts';
import type { DescriptorKind, DescriptorView } from '../resource.ts';
import {
  buffersSchema,
  collectBuffers,
  collectOptions,
  generalOptions,
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
import { collectFilter, filterSchema, keepOut, letIn } from './socket-filter.ts';

/** PACKET_VNET_HDR sets a size that PACKET_VNET_HDR_SZ may change. */
const options = [
  ...generalOptions,
  ...numbers(PACKET.SOL_PACKET, [
    PACKET.PACKET_COPY_THRESH,
    PACKET.PACKET_AUXDATA,
    PACKET.PACKET_ORIGDEV,
    PACKET.PACKET_VERSION,
    PACKET.PACKET_RESERVE,
    PACKET.PACKET_LOSS,
    PACKET.PACKET_VNET_HDR,
    PACKET.PACKET_VNET_HDR_SZ,
    PACKET.PACKET_TIMESTAMP,
    PACKET.PACKET_TX_HAS_OFF,
    PACKET.PACKET_QDISC_BYPASS,
    PACKET.PACKET_IGNORE_OUTGOING,
  ]),
];

/** MAX_ADDR_LEN of linux/netdevice.h */
const MAX_ADDRESS = 32;
const MAX_MEMBERSHIPS = 1024;
const { PACKET_MR_MULTICAST, PACKET_MR_PROMISC, PACKET_MR_ALLMULTI, PACKET_MR_UNICAST } = PACKET;

const schema = v.strictObject({
  type: v.picklist([SOCKET.SOCK_RAW, SOCKET.SOCK_DGRAM]),
  /** ETH_P_… of linux/if_ether.h; 0: it receives nothing. */
  protocol: u16,
  /** None: all of them. */
  interfaces: boundedArray(interfaceSchema, 1),
  flags: u32,
  memberships: boundedArray(
    v.strictObject({
      interface: interfaceSchema,
      kind: v.picklist([PACKET_MR_MULTICAST, PACKET_MR_PROMISC, PACKET_MR_ALLMULTI, PACKET_MR_UNICAST]),
      address: byteString(MAX_ADDRESS),
      times: integerBetween(1, MAX_MEMBERSHIPS),
    }),
    MAX_MEMBERSHIPS,
  ),
  buffers: buffersSchema,
  options: optionsSchema(options),
  filter: v.optional(filterSchema),
});
type PacketSocket = v.InferOutput<typeof schema>;

export const packetSocket: DescriptorKind<PacketSocket> = {
  kind: 'packet-socket',
  schema,
  recognise: (view) => {
    const facts = socketFacts(view);
    const isKnown = facts?.type === SOCKET.SOCK_RAW || facts?.type === SOCKET.SOCK_DGRAM;
    return facts?.domain === SOCKET.AF_PACKET && isKnown;
  },
  needsRest: true,
  obstacles: (view) => [...packetObstacles(view, 'packets'), ...whatIsShared(view)],
  collect: (open) => {
    const { own, info } = open;
    const { protocol, interfaceIndex } = boundTo(own);
    return {
      type: socketFacts(open)?.type === SOCKET.SOCK_DGRAM ? SOCKET.SOCK_DGRAM : SOCKET.SOCK_RAW,
      protocol,
      interfaces: interfaceIndex === 0 ? [] : [knownInterface(interfaceIndex)],
      flags: (info.flags & ~OPEN.O_CLOEXEC) >>> 0,
      memberships: (entryOf(open)?.memberships ?? []).map(({ interfaceIndex: index, kind, address, times }) => ({
        interface: knownInterface(index),
        kind: v.parse(schema.entries.memberships.item.entries.kind, kind),
        address,
        times,
      })),
      buffers: collectBuffers(own),
      options: collectOptions(own, options),
      ...collectFilter(own),
    };
  },
  plan: ({ type, interfaces, memberships, options: saved }, _host, path) => [
    ...planInterfaces(saved, path),
    ...missingInterfaces([...interfaces, ...memberships.map((one) => one.interface)], path),
    ...planMaking('a packet socket', 'CAP_NET_RAW', () => makeSocket(SOCKET.AF_PACKET, type, 0), path),
  ],
  restore: ({ type, flags, memberships, buffers, options: saved }) =>
    madeWith(makeSocket(SOCKET.AF_PACKET, type, 0), ({ number: made }) => {
      keepOut(made);
      restoreOptions(made, saved);
      restoreBuffers(made, buffers);
      for (const one of memberships) join(made, one);
      fcntl(made, FCNTL.F_SETFL, flags & STATUS_FLAGS, 'set the flags of a socket');
    }),
  settle: ({ protocol, interfaces: [name], filter }, own) => {
    letIn(own, filter);
    const sll_ifindex = name === undefined ? 0 : (indexOfInterface(name) ?? 0);
    if (protocol === 0 && sll_ifindex === 0) return;
    const sll_protocol = Buffer.alloc(2);
    sll_protocol.writeUInt16BE(protocol);
    const address = sockaddr.encode({ sll_family: SOCKET.AF_PACKET, sll_protocol, sll_ifindex });
    bindSocket(own, address, `bind a packet socket to ${name ?? 'all interfaces'}`);
  },
};

/** What others have a part in, and what nobody tells. */
function whatIsShared(view: DescriptorView): Problem[] {
  const refused = (what: string): Problem[] => [inetProblem(view, 'packet-socket', what, 'End the capture first.')];
  const entry = entryOf(view);
  if (entry === undefined) return refused('This kernel does not tell what a packet socket has (CONFIG_PACKET_DIAG)');
  if (entry.hasRing) return refused('It is a packet socket with a ring (PACKET_RX_RING, PACKET_TX_RING)');
  return entry.hasFanout ? refused('It is a packet socket in a group of them (PACKET_FANOUT)') : [];
}

/** Undefined where the kernel has no such list, or the socket is not in it. */
function entryOf({ stat }: DescriptorView): PacketSocketEntry | undefined {
  try {
    return listPacketSockets().find(({ inode }) => inode === Number(stat.inode));
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  }
}

function knownInterface(index: number): string {
  const name = nameOfInterface(index);
  if (name !== undefined) return name;
  throw new QuicksaveError('packet-socket', 'A packet socket uses a network interface that is gone.', {
    remedy: 'Save it when the program has closed the socket.',
  });
}

const sockaddr = structOf(packetAbi.structs.sockaddr_ll);

function boundTo(own: LocalFd): { protocol: number; interfaceIndex: number } {
  const { sll_protocol, sll_ifindex } = sockaddr.read(viewOf(nameOfSocket(own)));
  return { protocol: Buffer.from(sll_protocol).readUInt16BE(0), interfaceIndex: sll_ifindex };
}

const request = structOf(packetAbi.structs.packet_mreq);

/** As often as it was asked for. Addresses may be longer than the structure has room for (packet_mreq_max of net/packet). */
function join(made: LocalFd, { interface: name, kind, address, times }: PacketSocket['memberships'][number]): void {
  const mr_ifindex = indexOfInterface(name) ?? 0;
  const head = request.encode({ mr_ifindex, mr_type: kind, mr_alen: address.length });
  const asked = Buffer.concat([head, Buffer.alloc(Math.max(0, address.length - ROOM))]);
  asked.set(address, request.size - ROOM);
  for (let time = 0; time < times; time++) {
    setSocketOption(made, PACKET.SOL_PACKET, PACKET.PACKET_ADD_MEMBERSHIP, asked);
  }
}

/** Of mr_address. */
const ROOM = 8;
