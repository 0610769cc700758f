import { describe, expect, it } from 'vitest';
import { planGroups } from '../../../src/resources/sockets/multicast-groups.ts';
import { type DatagramReceiver, isOfThisHost, mayBePutBack } from '../../../src/resources/sockets/udp-queue.ts';

const end = (address: string, port: number): Buffer => {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(2, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(address.split('.').map(Number), 4);
  return bytes;
};
const end6 = (hex: string, port: number, scope = 0): Buffer => {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(10, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(Buffer.from(hex, 'hex'), 8);
  bytes.writeUInt32LE(scope, 24);
  return bytes;
};
const option = (level: number, number: number, value = 1) => ({
  level,
  option: number,
  value: Buffer.from([value, 0, 0, 0]),
});
const MAPPED = '00000000000000000000ffffc0000207';
const GLOBAL = '20010db8000000000000000000000001';

const socket: DatagramReceiver = { local: end('127.0.0.1', 53), remote: Buffer.alloc(0), options: [] };
const any: DatagramReceiver = { ...socket, local: end('0.0.0.0', 53) };
const any6: DatagramReceiver = { ...socket, local: end6('00'.repeat(16), 53) };
const sender = end('192.0.2.7', 777);
const bytes = Buffer.from('waits');

describe('a datagram that waits is put back', () => {
  const cases: [string, DatagramReceiver, Buffer, boolean][] = [
    ['of a stranger', socket, sender, true],
    ['of the peer of a connected socket', { ...socket, remote: sender }, sender, true],
    ['of another than the peer', { ...socket, remote: end('192.0.2.7', 778) }, sender, false],
    ['of no port', socket, end('192.0.2.7', 0), false],
    ['of a group', socket, end('239.1.2.3', 777), false],
    ['to a group', { ...socket, local: end('239.1.2.3', 53) }, sender, false],
    ['to everybody', { ...socket, local: end('255.255.255.255', 53) }, sender, false],
    ['to no port', { ...socket, local: end('127.0.0.1', 0) }, sender, false],
    ['of another family', socket, end6(GLOBAL, 777), false],
    ['of IPv6', any6, end6(GLOBAL, 777), true],
    ['of IPv4 in a socket of IPv6', any6, end6(MAPPED, 777), true],
    ['of IPv4 to an address of IPv6', { ...socket, local: end6(GLOBAL, 53) }, end6(MAPPED, 777), false],
    ['of a link', any6, end6('fe80000000000000000000000000000a', 777, 2), false],
    ['in UDP-Lite', { ...socket, protocol: 136 }, sender, false],
    ['where others may have the port', { ...socket, options: [option(1, 2)] }, sender, false],
    ['where others have the port', { ...socket, options: [option(1, 15)] }, sender, false],
    ['where nobody else may have the port', { ...socket, options: [option(1, 2, 0), option(1, 15, 0)] }, sender, true],
    ['that asks where it was sent to and knows', { ...socket, options: [option(0, 8)] }, sender, true],
    ['that asks where it was sent to', { ...any, options: [option(0, 8)] }, sender, false],
  ];
  it.each(cases)('%s: %#', (_, receiver, from, expected) => {
    expect(mayBePutBack(receiver, { bytes, sender: from })).toBe(expected);
  });

  it('unless no interface takes it at once', () => {
    expect(mayBePutBack(socket, { bytes: Buffer.alloc(65_487), sender })).toBe(true);
    expect(mayBePutBack(socket, { bytes: Buffer.alloc(65_488), sender })).toBe(false);
  });
});

it('a group on an interface that is missing is refused, once', () => {
  const group = { interface: 'lo', group: Buffer.from([239, 1, 2, 3]), excludes: true, sources: [] };
  expect(planGroups([group], ['pid 1', 'fd 3'])).toEqual([]);
  const missing = { ...group, interface: 'no-such-one' };
  expect(planGroups([missing, group, missing], ['pid 1', 'fd 3'])).toMatchObject([
    { code: 'missing-interface', path: ['pid 1', 'fd 3'], message: expect.stringContaining('no-such-one') },
  ]);
});

describe('datagrams are not sent to another host', () => {
  const cases: [string, Buffer, boolean][] = [
    ['loopback', end('127.0.0.1', 53), true],
    ['any of loopback', end('127.9.8.7', 53), true],
    ['no address', end('0.0.0.0', 53), true],
    ['no address of IPv6', end6('00'.repeat(16), 53), true],
    ['an address of documentation', end('192.0.2.7', 53), false],
    ['an address of documentation of IPv6', end6(GLOBAL, 53), false],
  ];
  it.each(cases)('%s', (_, local, expected) => {
    expect(isOfThisHost(local)).toBe(expected);
  });
});
