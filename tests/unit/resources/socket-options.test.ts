/** Options of sockets that these tests make. */
import { afterEach, expect, it } from 'vitest';
import { IP, IPV6 } from '../../../src/kernel/abi/inet.ts';
import { SOCKET } from '../../../src/kernel/abi/socket.ts';
import { makeSocket, setSocketOption, trySocketOption } from '../../../src/kernel/calls/sockets.ts';
import type { OwnedFd } from '../../../src/kernel/owned-fd.ts';
import { indexOfInterface } from '../../../src/resources/interfaces.ts';
import {
  collectOptions,
  int32,
  planInterfaces,
  restoreOptions,
  type SavedOption,
} from '../../../src/resources/socket-options.ts';
import { udpOptions } from '../../../src/resources/sockets/inet-options.ts';

const made: OwnedFd[] = [];
afterEach(() => {
  for (const socket of made.splice(0)) socket.close();
});

function udp(domain: number): OwnedFd {
  const socket = makeSocket(domain, SOCKET.SOCK_DGRAM, 0);
  made.push(socket);
  return socket;
}

const lo = indexOfInterface('lo') ?? 0;
const ofNetwork = int32(lo).swap32();
const named = Buffer.alloc(16);
named.write('lo');

const interfaces: [string, number, number, number, Buffer][] = [
  ['IP_UNICAST_IF', SOCKET.AF_INET, SOCKET.IPPROTO_IP, IP.IP_UNICAST_IF, ofNetwork],
  ['IPV6_UNICAST_IF', SOCKET.AF_INET6, SOCKET.IPPROTO_IPV6, IPV6.IPV6_UNICAST_IF, ofNetwork],
  ['IPV6_MULTICAST_IF', SOCKET.AF_INET6, SOCKET.IPPROTO_IPV6, IPV6.IPV6_MULTICAST_IF, int32(lo)],
];

it.each(interfaces)(
  '%s is saved by the name of the interface, and set by its number here',
  (_, domain, level, option, value) => {
    const first = udp(domain);
    const isIt = (one: SavedOption): boolean => one.level === level && one.option === option;
    expect(collectOptions(first.number, udpOptions).find(isIt)?.value).toEqual(Buffer.alloc(4));
    setSocketOption(first.number, level, option, value);
    const saved = collectOptions(first.number, udpOptions);
    expect(saved.find(isIt)?.value).toEqual(named);
    const second = udp(domain);
    restoreOptions(second.number, saved);
    expect(trySocketOption(second.number, level, option, 4)).toEqual(value);
    expect(planInterfaces(saved, [])).toEqual([]);
    const elsewhere = saved.map((one) =>
      isIt(one) ? { ...one, value: Buffer.from('not here\0\0\0\0\0\0\0\0') } : one,
    );
    expect(planInterfaces(elsewhere, ['fd 3'])).toMatchObject([{ code: 'missing-interface', path: ['fd 3'] }]);
  },
);

it('an option without any bytes is as it begins, and left out', () => {
  const headers = (socket: OwnedFd) =>
    collectOptions(socket.number, udpOptions).filter(({ option }) => option === IPV6.IPV6_DSTOPTS);
  const socket = udp(SOCKET.AF_INET6);
  expect(headers(socket)).toEqual([]);
  const padding = Buffer.from([0, 0, 1, 4, 0, 0, 0, 0]);
  setSocketOption(socket.number, SOCKET.IPPROTO_IPV6, IPV6.IPV6_DSTOPTS, padding);
  expect(headers(socket)).toEqual([{ level: SOCKET.IPPROTO_IPV6, option: IPV6.IPV6_DSTOPTS, value: padding }]);
});
