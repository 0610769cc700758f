/** What is read of UNIX sockets from this kernel's own structs, against what was sent. */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { SOCKET } from '../../src/kernel/abi/socket.ts';
import { trySendMessage } from '../../src/kernel/calls/socket-queues.ts';
import { bindSocket, connectSocket, listenOn, makeSocket, shutDown } from '../../src/kernel/calls/sockets.ts';
import { tryReadPending } from '../../src/kernel/calls/unix-queues.ts';
import { KernelObjects } from '../../src/kernel/kernel-objects.ts';
import { addressOf } from '../../src/resources/sockets/unix-names.ts';
import { localFd } from '../../src/support/brand.ts';

const WHY_NOT = 'the kernel shows none of its objects (CAP_BPF, CAP_PERFMON, CONFIG_DEBUG_INFO_BTF)';

it.for([SOCKET.SOCK_STREAM, SOCKET.SOCK_SEQPACKET])(
  'what waits in a listener of type %i is what was sent',
  (type, context) => {
    const kernel = KernelObjects.tryOpen();
    if (kernel === undefined) return context.skip(WHY_NOT);
    const name = Buffer.from(`\0quicksave test ${process.pid} ${type}`);
    const listener = makeSocket(SOCKET.AF_UNIX, type, 0);
    bindSocket(listener.number, addressOf(name), 'bind');
    listenOn(listener.number, 5);
    const file = localFd(openSync('/proc/self/maps', 'r'));
    const clients = Array.from({ length: 3 }, () => makeSocket(SOCKET.AF_UNIX, type, 0));
    onTestFinished(() => {
      closeSync(file);
      for (const one of [listener, ...clients]) one.close();
    });
    for (const { number } of clients) connectSocket(number, addressOf(name), 'connect');
    const [first, second, third] = clients;
    const large = randomBytes(40_000);
    trySendMessage(first?.number ?? file, { bytes: Buffer.from('short'), descriptors: [file, listener.number] });
    trySendMessage(first?.number ?? file, { bytes: large });
    trySendMessage(third?.number ?? file, { bytes: Buffer.from('last word') });
    third?.close();
    shutDown(second?.number ?? file, SOCKET.SHUT_WR);
    const own = { pid: process.pid, uid: process.geteuid?.(), gid: process.getegid?.() };
    const found = tryReadPending(listener.number);
    expect(found).toMatchObject([
      { clientName: Buffer.alloc(0), credentials: own },
      { messages: [] },
      { client: 0, credentials: own, messages: [{ bytes: Buffer.from('last word'), files: [] }] },
    ]);
    const sent = found?.[0]?.messages ?? [];
    expect(sent[0]).toMatchObject({ bytes: Buffer.from('short'), credentials: own });
    // The kernel cuts what is too long for one piece of a stream.
    expect(Buffer.concat(sent.slice(1).map(({ bytes }) => bytes)).equals(large)).toBe(true);
    expect(sent.slice(1).flatMap(({ files }) => files)).toEqual([]);
    expect(found?.[0]?.messages[0]?.files).toEqual([file, listener.number].map((fd) => kernel.fileOf(fd).address));
  },
);
