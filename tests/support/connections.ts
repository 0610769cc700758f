/** Clients of a saved server, in the process of the test: outside of what is saved. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { listTables } from '../../src/netlink/nf-tables.ts';
import { waitFor } from './harness.ts';

/** A port that nobody has at this moment. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const server = createServer();
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Connected as soon as somebody listens there. */
export async function clientOf(port: number, host = '127.0.0.1'): Promise<Socket> {
  let found: Socket | undefined;
  const attempt = (): void => {
    const socket = connect({ port, host });
    socket.on('connect', () => {
      found ??= socket;
    });
    socket.on('error', () => setTimeout(attempt, 20));
  };
  attempt();
  return waitFor(`a listener on port ${port}`, () => found);
}

/** All that has come so far, and how it ended. */
export class Received {
  text = '';
  ended = false;
  error: string | undefined;
  constructor(socket: Socket) {
    socket.on('data', (bytes) => {
      this.text += bytes.toString('latin1');
    });
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', (error) => {
      this.error = error.message;
    });
  }
}

/** Tables of ours that nobody has removed. */
export const locksLeft = (): string[] => listTables().filter((name) => name.startsWith('quicksave-'));
