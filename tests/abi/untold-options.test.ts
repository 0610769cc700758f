/** Options that no call tells, read from this kernel's own structs and given to another socket. */
import { expect, it, onTestFinished } from 'vitest';
import { IP, IPV6 } from '../../src/kernel/abi/inet.ts';
import { SOCKET } from '../../src/kernel/abi/socket.ts';
import { hasChooser, hasPolicy, showsInternals } from '../../src/kernel/calls/inet-internals.ts';
import { makeSocket, setSocketNumber, setSocketOption } from '../../src/kernel/calls/sockets.ts';
import { indexOfInterface } from '../../src/resources/interfaces.ts';
import { collectUntold, restoreUntold } from '../../src/resources/sockets/untold-options.ts';

const WHY_NOT = 'the kernel shows none of its objects (CAP_BPF, CAP_PERFMON, CONFIG_DEBUG_INFO_BTF)';

it.for([SOCKET.AF_INET, SOCKET.AF_INET6])('what a socket of family %i has been given comes back', (family, context) => {
  if (!showsInternals()) return context.skip(WHY_NOT);
  const [given, other] = [0, 1].map(() => makeSocket(family, SOCKET.SOCK_DGRAM, 0));
  if (given === undefined || other === undefined) throw new Error('two have been made');
  onTestFinished(() => {
    given.close();
    other.close();
  });
  expect(collectUntold(given.number, family)).toEqual({});
  expect([hasChooser(given.number), hasPolicy(given.number)]).toEqual([false, false]);
  const lo = indexOfInterface('lo') ?? 0;
  const byIndex = Buffer.alloc(12);
  byIndex.writeUInt32LE(lo, 8);
  setSocketOption(given.number, SOCKET.IPPROTO_IP, IP.IP_MULTICAST_IF, byIndex);
  const address = Buffer.from('fd000078000000000000000000000001', 'hex');
  if (family === SOCKET.AF_INET6) {
    const info = Buffer.concat([address, Buffer.from([lo, 0, 0, 0])]);
    setSocketOption(given.number, SOCKET.IPPROTO_IPV6, IPV6.IPV6_PKTINFO, info);
    setSocketNumber(given.number, SOCKET.IPPROTO_IPV6, IPV6.IPV6_MTU, 1300);
  }
  const { untold } = collectUntold(given.number, family);
  const v6 = family === SOCKET.AF_INET6 ? { packetInfo: { address, interface: 'lo' }, fragmentBytes: 1300 } : {};
  expect(untold).toEqual({ multicastInterface: 'lo', ...v6 });
  restoreUntold(other.number, untold);
  expect(collectUntold(other.number, family)).toEqual({ untold });
});
