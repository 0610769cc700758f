/** The lists of the kernel, of sockets that these tests make. */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { PACKET } from '../../../src/kernel/abi/packet.ts';
import { SOCKET } from '../../../src/kernel/abi/socket.ts';
import { newDoorbell } from '../../../src/kernel/calls/descriptors.ts';
import { makeSocket, setSocketOption } from '../../../src/kernel/calls/sockets.ts';
import { listInetSockets } from '../../../src/netlink/inet-sockets.ts';
import { decodePacketSocket, listPacketSockets } from '../../../src/netlink/packet-sockets.ts';
import { listUnixSockets, type UnixSocketEntry } from '../../../src/netlink/unix-sockets.ts';
import { indexOfInterface } from '../../../src/resources/interfaces.ts';

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step();
});

const TCP = 6;
const UDP = 17;
const LISTENING = 10;
const ESTABLISHED = 1;

const inodeOf = (fd: number): number => Number(statSync(`/proc/self/fd/${fd}`, { bigint: true }).ino);

const unixSocket = (inode: number): UnixSocketEntry | undefined =>
  listUnixSockets().find((entry) => entry.inode === inode);

async function listen(address: string | { host: string; port: number }): Promise<Server> {
  const server = createServer();
  if (typeof address === 'string') server.listen(address);
  else server.listen(address.port, address.host);
  await once(server, 'listening');
  undo.push(() => server.close());
  return server;
}

async function connected(options: { host: string; port: number }): Promise<Socket> {
  const socket = connect(options);
  undo.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

it('the two ends of a pair of UNIX sockets name each other', () => {
  const { ours, theirs } = newDoorbell();
  undo.push(
    () => ours.close(),
    () => theirs.close(),
  );
  const [here, there] = [inodeOf(ours.number), inodeOf(theirs.number)];
  expect(unixSocket(here)).toMatchObject({ type: SOCKET.SOCK_SEQPACKET, peer: there, name: undefined, shutdown: 0 });
  expect(unixSocket(there)?.peer).toBe(here);
  theirs.close();
  expect(unixSocket(here)).toMatchObject({ peer: 0, shutdown: 3 });
});

it('a UNIX socket that listens has its path, its file, its backlog and who waits to be accepted', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'quicksave-sockets-'));
  undo.push(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'socket');
  const server = await listen(path);
  const entries = listUnixSockets().filter(({ name }) => name?.toString() === path);
  expect(entries).toHaveLength(1);
  expect(entries[0]).toMatchObject({ type: SOCKET.SOCK_STREAM, state: LISTENING, pending: [], sendQueue: 511 });
  expect(entries[0]?.file?.inode).toBe(statSync(path).ino);
  expect(server.listening).toBe(true);
});

it('a list that takes many datagrams is whole', () => {
  const pairs = Array.from({ length: 300 }, newDoorbell);
  undo.push(() => {
    for (const { ours, theirs } of pairs) {
      ours.close();
      theirs.close();
    }
  });
  const peers = new Map(listUnixSockets().map(({ inode, peer }) => [inode, peer]));
  for (const { ours, theirs } of pairs) expect(peers.get(inodeOf(ours.number))).toBe(inodeOf(theirs.number));
});

it.each([
  ['IPv4', '127.0.0.1', SOCKET.AF_INET, Buffer.from([127, 0, 0, 1])],
  ['IPv6', '::1', SOCKET.AF_INET6, Buffer.from([...Array(15).fill(0), 1])],
] as const)('TCP over %s: who listens, and both ends of a connection', async (_, host, family, address) => {
  const server = await listen({ host, port: 0 });
  const { port } = server.address() as { port: number };
  const accepted = once(server, 'connection');
  const client = await connected({ host, port });
  const [peer] = (await accepted) as [Socket];
  undo.push(() => peer.destroy());
  const entries = listInetSockets(family, TCP);
  const listener = entries.find(({ state, local }) => state === LISTENING && local.port === port);
  expect(listener).toMatchObject({ family, local: { address, port }, sendQueue: 511 });
  const end = entries.find(({ state, local }) => state === ESTABLISHED && local.port === client.localPort);
  expect(end?.remote).toEqual({ address, port });
  expect(entries.some(({ remote }) => remote.port === client.localPort)).toBe(true);
});

it('UDP: the port that a socket is bound to', async () => {
  const socket = createSocket('udp4');
  undo.push(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  const found = listInetSockets(SOCKET.AF_INET, UDP).find(({ local }) => local.port === port);
  expect(found?.local.address).toEqual(Buffer.from([127, 0, 0, 1]));
});

it('a packet socket has what it has asked of an interface, and nothing else', () => {
  const packet = makeSocket(SOCKET.AF_PACKET, SOCKET.SOCK_RAW, 0);
  undo.push(() => packet.close());
  const index = indexOfInterface('lo') ?? 0;
  const asked = Buffer.alloc(16);
  asked.writeInt32LE(index, 0);
  asked.writeUInt16LE(6, 6);
  asked.set([1, 0, 94, 9, 9, 9], 8);
  for (let time = 0; time < 2; time++)
    setSocketOption(packet.number, PACKET.SOL_PACKET, PACKET.PACKET_ADD_MEMBERSHIP, asked);
  const memberships = [{ interfaceIndex: index, kind: 0, address: asked.subarray(8, 14), times: 2 }];
  const inode = inodeOf(packet.number);
  expect(listPacketSockets().find((entry) => entry.inode === inode)).toEqual({
    inode,
    memberships,
    hasRing: false,
    hasFanout: false,
  });
  expect(() => decodePacketSocket(Buffer.alloc(3))).toThrow(/not as expected/);
});
