/**
 * TCP connections that wait in a listener to be accepted, and what has come in on them, read where the kernel keeps it (request_sock_queue of
 * include/net/request_sock.h; {@link KernelObjects}).
 */
import type { LocalFd } from '../../support/brand.ts';
import { KernelObjects, UnknownKernelObject } from '../kernel-objects.ts';
import { bytesOf, receiveQueueOf, socketBehind } from './socket-buffers.ts';

export interface InetPlace {
  /** As packets have it: 4 bytes, or 16. */
  readonly address: Buffer;
  readonly port: number;
}

export interface WaitingConnection {
  readonly local: InetPlace;
  readonly remote: InetPlace;
  /** All that has come in: nobody has read of it. */
  readonly bytes: Buffer;
  /** The number of the byte behind those. */
  readonly next: number;
}

const MAX_WAITING = 1 << 16;
const AF_INET6 = 10;
const MAPPED = Buffer.from([...Array(10).fill(0), 0xff, 0xff]);

/** In the order in which accept(2) takes them. Undefined where the kernel does not show them. */
export function tryReadAcceptQueue(listener: LocalFd): WaitingConnection[] | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  for (let attempt = 1; ; attempt++) {
    try {
      return readQueue(kernel, socketBehind(kernel, kernel.fileOf(listener)));
    } catch (error) {
      if (!(error instanceof UnknownKernelObject)) throw error;
      // What has been sent may still be on its way.
      if (attempt === ATTEMPTS) return undefined;
      Atomics.wait(nothing, 0, 0, 1);
    }
  }
}

const ATTEMPTS = 5;
const nothing = new Int32Array(new SharedArrayBuffer(4));

function readQueue(kernel: KernelObjects, socket: bigint): WaitingConnection[] {
  const found: WaitingConnection[] = [];
  let request = kernel.u64('inet_connection_sock', socket, 'icsk_accept_queue.rskq_accept_head');
  while (request !== 0n) {
    if (found.length === MAX_WAITING) throw new UnknownKernelObject('a queue has no end');
    const made = kernel.u64('request_sock', request, 'sk');
    if (made === 0n) throw new UnknownKernelObject('a connection that is not there waits');
    found.push(connectionOf(kernel, made));
    request = kernel.u64('request_sock', request, 'dl_next');
  }
  return found;
}

function connectionOf(kernel: KernelObjects, socket: bigint): WaitingConnection {
  const field = (name: string, sizeBytes: number): Buffer =>
    kernel.bytes(socket + BigInt(kernel.offsetOf('sock_common', name)), sizeBytes);
  const isV6 = field('skc_family', 2).readUInt16LE(0) === AF_INET6;
  const address = (v4: string, v6: string): Buffer => {
    if (!isV6) return field(v4, 4);
    const found = field(v6, 16);
    return found.subarray(0, 12).equals(MAPPED) ? found.subarray(12) : found;
  };
  const { bytes, next } = incomingOf(kernel, socket);
  return {
    local: { address: address('skc_rcv_saddr', 'skc_v6_rcv_saddr'), port: field('skc_num', 2).readUInt16LE(0) },
    remote: { address: address('skc_daddr', 'skc_v6_daddr'), port: field('skc_dport', 2).readUInt16BE(0) },
    bytes,
    next,
  };
}

function incomingOf(kernel: KernelObjects, socket: bigint): Pick<WaitingConnection, 'bytes' | 'next'> {
  const number = (name: string): number =>
    kernel.bytes(socket + BigInt(kernel.offsetOf('tcp_sock', name)), 4).readUInt32LE(0);
  const before = number('rcv_nxt');
  let next = number('copied_seq');
  const pieces = receiveQueueOf(kernel, socket).map((buffer) => {
    const parameters = kernel.struct('tcp_skb_cb', buffer.address + BigInt(buffer.offsetOf('cb')));
    // What was sent again may begin with what has come in before.
    const known = (next - parameters.u32('seq')) | 0;
    const bytes = bytesOf(kernel, buffer);
    if (known < 0 || known > bytes.length) throw new UnknownKernelObject('bytes are missing in a queue');
    next = (next + bytes.length - known) >>> 0;
    return bytes.subarray(known);
  });
  // The other end's FIN has a number too.
  const end = (before - next) | 0;
  if (number('rcv_nxt') !== before || (end !== 0 && end !== 1))
    throw new UnknownKernelObject('a queue is not as long as it says');
  return { bytes: Buffer.concat(pieces), next };
}
