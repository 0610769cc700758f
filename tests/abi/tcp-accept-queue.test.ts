/** TCP connections that wait, as read from this kernel's own structs, against what was sent. */
import { randomBytes } from 'node:crypto';
import { expect, it, onTestFinished } from 'vitest';
import { SOCKET } from '../../src/kernel/abi/socket.ts';
import {
  bindSocket,
  connectSocket,
  listenOn,
  makeSocket,
  nameOfSocket,
  shutDown,
} from '../../src/kernel/calls/sockets.ts';
import { tryReadAcceptQueue } from '../../src/kernel/calls/tcp-accept-queue.ts';
import { fillQueue } from '../../src/kernel/calls/tcp-repair.ts';
import { KernelObjects } from '../../src/kernel/kernel-objects.ts';
import { addressIn, portOf } from '../../src/support/inet-address.ts';

const WHY_NOT = 'the kernel shows none of its objects (CAP_BPF, CAP_PERFMON, CONFIG_DEBUG_INFO_BTF)';

const loopback = (family: number): Buffer =>
  family === SOCKET.AF_INET
    ? Buffer.from([family, 0, 0, 0, 127, 0, 0, 1, ...Array(8).fill(0)])
    : Buffer.from([family, ...Array(22).fill(0), 1, ...Array(4).fill(0)]);

it.for([SOCKET.AF_INET, SOCKET.AF_INET6])(
  'what waits in a listener of family %i is what was sent',
  (family, context) => {
    if (KernelObjects.tryOpen() === undefined) return context.skip(WHY_NOT);
    const listener = makeSocket(family, SOCKET.SOCK_STREAM, 0);
    bindSocket(listener.number, loopback(family), 'bind');
    listenOn(listener.number, 5);
    const name = nameOfSocket(listener.number);
    const clients = Array.from({ length: 3 }, () => makeSocket(family, SOCKET.SOCK_STREAM, 0));
    onTestFinished(() => {
      for (const one of [listener, ...clients]) one.close();
    });
    const large = randomBytes(60_000);
    const sent = [Buffer.from('hello'), Buffer.alloc(0), large];
    clients.forEach(({ number }, index) => {
      connectSocket(number, name, 'connect');
      fillQueue(number, sent[index] ?? large);
    });
    fillQueue(clients[0]?.number ?? listener.number, Buffer.from(', again'));
    shutDown(clients[0]?.number ?? listener.number, SOCKET.SHUT_WR);
    const found = tryReadAcceptQueue(listener.number) ?? [];
    const place = (end: Buffer) => ({ address: addressIn(end), port: portOf(end) });
    expect(found.map(({ local, remote }) => ({ local, remote }))).toEqual(
      clients.map(({ number }) => ({ local: place(name), remote: place(nameOfSocket(number)) })),
    );
    expect(found.slice(0, 2).map(({ bytes }) => bytes.toString())).toEqual(['hello, again', '']);
    // The rest is still with the client: the window is not as wide.
    const begin = found[2]?.bytes ?? Buffer.alloc(0);
    expect(begin.length).toBeGreaterThan(10_000);
    expect(begin.equals(large.subarray(0, begin.length))).toBe(true);
  },
);
