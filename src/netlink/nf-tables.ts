/**
 * Tables of nf_tables that drop every packet of some TCP connections, both ways. A table belongs to the netlink socket that has made it and
 * goes with that (NFT_TABLE_F_OWNER, Linux 5.12), however we end; or it stays until it is removed by its name.
 */
import { NETLINK } from '../kernel/abi/netlink.ts';
import { NFT, nfTablesAbi } from '../kernel/abi/nf-tables.ts';
import { SOCKET } from '../kernel/abi/socket.ts';
import { openNetlink, receiveNetlink, sendNetlink } from '../kernel/calls/netlink.ts';
import { KernelError } from '../kernel/errors.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { structOf } from '../kernel/struct.ts';
import { dump, errnoOf } from './dump.ts';
import { decodeAttributes, decodeMessages, encodeAttribute, encodeMessage, encodeNested } from './messages.ts';

/** The two ends of a connection, as its packets have them: 4 bytes of address, or 16. */
export interface Connection {
  readonly localAddress: Uint8Array;
  readonly localPort: number;
  readonly remoteAddress: Uint8Array;
  readonly remotePort: number;
}

/** Packets of ours pass that have this mark (SO_MARK, socket(7)). */
export const PASSING_MARK = 0x71756963;

const generic = structOf(nfTablesAbi.structs.nfgenmsg);
const header = (family: number, subsystem = 0): Buffer =>
  generic.encode({ nfgen_family: family, res_id: Buffer.from([0, subsystem]) });

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
const text = (value: string): Buffer => Buffer.from(`${value}\0`);

type Step = { readonly type: number; readonly flags?: number; readonly attributes: readonly Buffer[] };

/** The datagram of a transaction: all of it is done or nothing. */
function batchOf(steps: readonly Step[]): Buffer {
  const edge = (type: number): Buffer =>
    encodeMessage({
      type,
      flags: NETLINK.NLM_F_REQUEST,
      sequence: 0,
      payload: header(NFT.NFPROTO_UNSPEC, NFT.NFNL_SUBSYS_NFTABLES),
    });
  const inner = steps.map(({ type, flags = NETLINK.NLM_F_CREATE, attributes }, index) =>
    encodeMessage({
      type: (NFT.NFNL_SUBSYS_NFTABLES << 8) | type,
      flags: NETLINK.NLM_F_REQUEST | flags | (index === steps.length - 1 ? NETLINK.NLM_F_ACK : 0),
      sequence: index + 1,
      payload: Buffer.concat([header(NFT.NFPROTO_INET), ...attributes]),
    }),
  );
  return Buffer.concat([edge(NFT.NFNL_MSG_BATCH_BEGIN), ...inner, edge(NFT.NFNL_MSG_BATCH_END)]);
}

/** Errors come one for each step; the acknowledgement is asked of the last. */
function run(socket: OwnedFd, steps: readonly Step[], doing: string): void {
  sendNetlink(socket.number, batchOf(steps));
  for (;;) {
    for (const message of decodeMessages(receiveNetlink(socket.number))) {
      if (message.type !== NETLINK.NLMSG_ERROR) continue;
      const errno = errnoOf(message);
      if (errno !== 0) throw new KernelError('nf_tables', errno, { doing });
      return;
    }
  }
}

interface AddressFamily {
  readonly protocol: number;
  readonly name: string;
  /** Where both addresses stand in the IP header, and how long they are. */
  readonly offset: number;
  readonly sizeBytes: number;
}

const FAMILIES: readonly AddressFamily[] = [
  { protocol: NFT.NFPROTO_IPV4, name: '4', offset: 12, sizeBytes: 8 },
  { protocol: NFT.NFPROTO_IPV6, name: '6', offset: 8, sizeBytes: 32 },
];

const DIRECTIONS = [
  { name: 'in', hook: NFT.NF_INET_LOCAL_IN },
  { name: 'out', hook: NFT.NF_INET_LOCAL_OUT },
] as const;

/** Before anything else looks at a packet. */
const PRIORITY = -450;
const IPPROTO_TCP = Buffer.from([SOCKET.IPPROTO_TCP]);
const PORTS_SIZE = 4;

function tableSteps(table: string, owned: boolean): Step[] {
  const flags = encodeAttribute(NFT.NFTA_TABLE_FLAGS, u32(owned ? NFT.NFT_TABLE_F_OWNER : 0));
  return [
    { type: NFT.NFT_MSG_NEWTABLE, attributes: [encodeAttribute(NFT.NFTA_TABLE_NAME, text(table)), flags] },
    ...DIRECTIONS.flatMap(({ name, hook }, direction) => [
      chainStep(table, name, hook),
      ...FAMILIES.flatMap((family, index) => [
        setStep(table, `${name}${family.name}`, family, direction * FAMILIES.length + index + 1),
        ruleStep(table, name, family),
      ]),
    ]),
  ];
}

const chainStep = (table: string, chain: string, hook: number): Step => ({
  type: NFT.NFT_MSG_NEWCHAIN,
  attributes: [
    encodeAttribute(NFT.NFTA_CHAIN_TABLE, text(table)),
    encodeAttribute(NFT.NFTA_CHAIN_NAME, text(chain)),
    encodeNested(
      NFT.NFTA_CHAIN_HOOK,
      encodeAttribute(NFT.NFTA_HOOK_HOOKNUM, u32(hook)),
      encodeAttribute(NFT.NFTA_HOOK_PRIORITY, u32(PRIORITY)),
    ),
    encodeAttribute(NFT.NFTA_CHAIN_TYPE, text('filter')),
  ],
});

const setStep = (table: string, set: string, { sizeBytes }: AddressFamily, id: number): Step => ({
  type: NFT.NFT_MSG_NEWSET,
  attributes: [
    encodeAttribute(NFT.NFTA_SET_TABLE, text(table)),
    encodeAttribute(NFT.NFTA_SET_NAME, text(set)),
    encodeAttribute(NFT.NFTA_SET_FLAGS, u32(0)),
    encodeAttribute(NFT.NFTA_SET_KEY_TYPE, u32(0)),
    encodeAttribute(NFT.NFTA_SET_KEY_LEN, u32(sizeBytes + PORTS_SIZE)),
    encodeAttribute(NFT.NFTA_SET_ID, u32(id)),
  ],
});

const expression = (name: string, ...data: readonly Buffer[]): Buffer =>
  encodeNested(
    NFT.NFTA_LIST_ELEM,
    encodeAttribute(NFT.NFTA_EXPR_NAME, text(name)),
    encodeNested(NFT.NFTA_EXPR_DATA, ...data),
  );

const FIRST = NFT.NFT_REG32_00;

const meta = (key: number): Buffer =>
  expression('meta', encodeAttribute(NFT.NFTA_META_DREG, u32(FIRST)), encodeAttribute(NFT.NFTA_META_KEY, u32(key)));

const compare = (operation: number, value: Uint8Array): Buffer =>
  expression(
    'cmp',
    encodeAttribute(NFT.NFTA_CMP_SREG, u32(FIRST)),
    encodeAttribute(NFT.NFTA_CMP_OP, u32(operation)),
    encodeNested(NFT.NFTA_CMP_DATA, encodeAttribute(NFT.NFTA_DATA_VALUE, value)),
  );

const load = (base: number, offset: number, sizeBytes: number, register: number): Buffer =>
  expression(
    'payload',
    encodeAttribute(NFT.NFTA_PAYLOAD_DREG, u32(register)),
    encodeAttribute(NFT.NFTA_PAYLOAD_BASE, u32(base)),
    encodeAttribute(NFT.NFTA_PAYLOAD_OFFSET, u32(offset)),
    encodeAttribute(NFT.NFTA_PAYLOAD_LEN, u32(sizeBytes)),
  );

function ruleStep(table: string, chain: string, { protocol, name, offset, sizeBytes }: AddressFamily): Step {
  const mark = Buffer.alloc(4);
  mark.writeUInt32LE(PASSING_MARK);
  const expressions = [
    meta(NFT.NFT_META_NFPROTO),
    compare(NFT.NFT_CMP_EQ, Buffer.from([protocol])),
    meta(NFT.NFT_META_L4PROTO),
    compare(NFT.NFT_CMP_EQ, IPPROTO_TCP),
    meta(NFT.NFT_META_MARK),
    compare(NFT.NFT_CMP_NEQ, mark),
    load(NFT.NFT_PAYLOAD_NETWORK_HEADER, offset, sizeBytes, FIRST),
    load(NFT.NFT_PAYLOAD_TRANSPORT_HEADER, 0, PORTS_SIZE, FIRST + sizeBytes / 4),
    expression(
      'lookup',
      encodeAttribute(NFT.NFTA_LOOKUP_SET, text(`${chain}${name}`)),
      encodeAttribute(NFT.NFTA_LOOKUP_SREG, u32(FIRST)),
    ),
    expression(
      'immediate',
      encodeAttribute(NFT.NFTA_IMMEDIATE_DREG, u32(NFT.NFT_REG_VERDICT)),
      encodeNested(
        NFT.NFTA_IMMEDIATE_DATA,
        encodeNested(NFT.NFTA_DATA_VERDICT, encodeAttribute(NFT.NFTA_VERDICT_CODE, u32(NFT.NF_DROP))),
      ),
    ),
  ];
  return {
    type: NFT.NFT_MSG_NEWRULE,
    flags: NETLINK.NLM_F_CREATE | NETLINK.NLM_F_APPEND,
    attributes: [
      encodeAttribute(NFT.NFTA_RULE_TABLE, text(table)),
      encodeAttribute(NFT.NFTA_RULE_CHAIN, text(chain)),
      encodeNested(NFT.NFTA_RULE_EXPRESSIONS, ...expressions),
    ],
  };
}

/** A nested attribute has a length of 16 bits. */
const ELEMENTS_PER_STEP = 500;

function elementSteps(table: string, connections: readonly Connection[]): Step[] {
  return DIRECTIONS.flatMap(({ name }) =>
    FAMILIES.flatMap((family) => {
      const own = connections.filter(({ localAddress }) => localAddress.length * 2 === family.sizeBytes);
      const keys = own.map((connection) => keyOf(connection, name));
      const steps: Step[] = [];
      for (let at = 0; at < keys.length; at += ELEMENTS_PER_STEP) {
        steps.push(elementStep(table, `${name}${family.name}`, keys.slice(at, at + ELEMENTS_PER_STEP)));
      }
      return steps;
    }),
  );
}

const elementStep = (table: string, set: string, keys: readonly Buffer[]): Step => ({
  type: NFT.NFT_MSG_NEWSETELEM,
  attributes: [
    encodeAttribute(NFT.NFTA_SET_ELEM_LIST_TABLE, text(table)),
    encodeAttribute(NFT.NFTA_SET_ELEM_LIST_SET, text(set)),
    encodeNested(
      NFT.NFTA_SET_ELEM_LIST_ELEMENTS,
      ...keys.map((key) =>
        encodeNested(
          NFT.NFTA_LIST_ELEM,
          encodeNested(NFT.NFTA_SET_ELEM_KEY, encodeAttribute(NFT.NFTA_DATA_VALUE, key)),
        ),
      ),
    ),
  ],
});

/** Source, destination and their ports, as they stand in the packets of that direction. */
function keyOf({ localAddress, localPort, remoteAddress, remotePort }: Connection, direction: 'in' | 'out'): Buffer {
  const ports = Buffer.alloc(PORTS_SIZE);
  const isIn = direction === 'in';
  ports.writeUInt16BE(isIn ? remotePort : localPort, 0);
  ports.writeUInt16BE(isIn ? localPort : remotePort, 2);
  return Buffer.concat(isIn ? [remoteAddress, localAddress, ports] : [localAddress, remoteAddress, ports]);
}

const DOING = 'hold connections silent';

/** All packets of these connections are dropped until the result is closed, by whatever. */
export function holdSilent(table: string, connections: readonly Connection[]): OwnedFd {
  const socket = openNetlink(NETLINK.NETLINK_NETFILTER);
  try {
    run(socket, [...tableSteps(table, true), ...elementSteps(table, connections)], DOING);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** More of them, in a table that {@link holdSilent} has made through this socket. */
export function addSilent(socket: OwnedFd, table: string, connections: readonly Connection[]): void {
  run(socket, elementSteps(table, connections), DOING);
}

/** The transaction that makes a table which stays: to be sent by somebody who cannot be interrupted. */
export const stayingSilence = (table: string, connections: readonly Connection[]): Buffer =>
  batchOf([...tableSteps(table, false), ...elementSteps(table, connections)]);

/** Waits for the answer to a transaction that was sent through this socket. */
export function awaitAnswer(socket: OwnedFd): void {
  for (;;) {
    for (const message of decodeMessages(receiveNetlink(socket.number))) {
      if (message.type !== NETLINK.NLMSG_ERROR) continue;
      if (errnoOf(message) !== 0) throw new KernelError('nf_tables', errnoOf(message), { doing: DOING });
      return;
    }
  }
}

/** The transaction that removes a table. */
export const removalOf = (table: string): Buffer =>
  batchOf([
    {
      type: NFT.NFT_MSG_DELTABLE,
      flags: 0,
      attributes: [encodeAttribute(NFT.NFTA_TABLE_NAME, text(table))],
    },
  ]);

export function removeTable(table: string): void {
  const socket = openNetlink(NETLINK.NETLINK_NETFILTER);
  try {
    sendNetlink(socket.number, removalOf(table));
    awaitAnswer(socket);
  } finally {
    socket.close();
  }
}

/** The names of all tables of the family inet. */
export function listTables(): string[] {
  const type = (NFT.NFNL_SUBSYS_NFTABLES << 8) | NFT.NFT_MSG_GETTABLE;
  const messages = dump(
    NETLINK.NETLINK_NETFILTER,
    { type, payload: header(NFT.NFPROTO_INET) },
    'list the tables of nf_tables',
  );
  return messages.flatMap(({ payload }) => decodeTableName(payload) ?? []);
}

export function decodeTableName(payload: Buffer): string | undefined {
  const name = decodeAttributes(payload.subarray(generic.size)).get(NFT.NFTA_TABLE_NAME);
  return name?.subarray(0, name.indexOf(0)).toString();
}
