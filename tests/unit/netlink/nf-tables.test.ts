/** Tables of the real kernel: needs the right to administer the network. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { mayRepair } from '../../../src/kernel/calls/tcp-repair.ts';
import { type Connection, holdSilent, listTables } from '../../../src/netlink/nf-tables.ts';

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step();
});

const LOOPBACK = { v4: Buffer.from([127, 0, 0, 1]), v6: Buffer.from([...Array(15).fill(0), 1]) };

it.for([
  ['IPv4', '127.0.0.1', LOOPBACK.v4],
  ['IPv6', '::1', LOOPBACK.v6],
] as const)(
  'a connection over %s is silent for as long as its table is there, and loses nothing',
  async (row, context) => {
    const [, host, address] = row;
    if (!mayRepair()) context.skip('needs CAP_NET_ADMIN');
    const server = createServer();
    server.listen(0, host);
    await once(server, 'listening');
    undo.push(() => server.close());
    const { port } = server.address() as { port: number };
    const accepted = once(server, 'connection');
    const client = connect({ port, host });
    undo.push(() => client.destroy());
    const [peer] = (await accepted) as [Socket];
    undo.push(() => peer.destroy());
    const held: Connection = {
      localAddress: address,
      localPort: port,
      remoteAddress: address,
      remotePort: client.localPort ?? 0,
    };
    const name = `quicksave-test-${process.pid}-${port}`;
    const silence = holdSilent(name, [held]);
    expect(listTables()).toContain(name);
    let got = '';
    peer.on('data', (bytes) => {
      got += bytes.toString();
    });
    client.write('held back');
    // Longer than loopback ever takes, shorter than the first retransmission matters.
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(got).toBe('');
    silence.close();
    expect(listTables()).not.toContain(name);
    await once(peer, 'data');
    expect(got).toBe('held back');
  },
);
