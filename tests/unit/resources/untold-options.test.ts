/** Options that no call tells: what a restart needs to give them again, and which policies are those of sockets. */
import * as v from 'valibot';
import { expect, it } from 'vitest';
import { isOfSocket } from '../../../src/netlink/xfrm-policies.ts';
import { readStatus } from '../../../src/procfs/status.ts';
import type { HostView } from '../../../src/resources/resource.ts';
import { planUntold, untoldSchema } from '../../../src/resources/sockets/untold-options.ts';
import { asPid } from '../../../src/support/brand.ts';

const hostWith = (capEffective: bigint): HostView =>
  ({ status: { ...readStatus(asPid(process.pid)), capEffective } }) as HostView;
const CAP_NET_ADMIN = 1n << 12n;
const address = Buffer.alloc(16, 1);

it('an interface that is missing is refused by its name', () => {
  const codes = (untold: Parameters<typeof planUntold>[0]): unknown[] =>
    planUntold(untold, hostWith(CAP_NET_ADMIN), []).map(({ code, message }) => [code, message.includes('nowhere0')]);
  expect(codes(undefined)).toEqual([]);
  expect(codes({ multicastInterface: 'lo', packetInfo: { address }, anycast: [{ address, interface: 'lo' }] })).toEqual(
    [],
  );
  expect(codes({ multicastInterface: 'nowhere0' })).toEqual([['missing-interface', true]]);
  expect(codes({ packetInfo: { address, interface: 'nowhere0' } })).toEqual([['missing-interface', true]]);
});

it('an anycast address needs who administers the network', () => {
  const untold = { anycast: [{ address, interface: 'lo' }] };
  expect(planUntold(untold, hostWith(0n), [])).toMatchObject([{ code: 'not-enough-rights' }]);
});

it('an image may not have an address of another size', () => {
  expect(v.is(untoldSchema, { packetInfo: { address: Buffer.alloc(4) } })).toBe(false);
  expect(v.is(untoldSchema, { anycast: [{ address, interface: '../x' }] })).toBe(false);
});

it('a policy of a socket is told by its direction', () => {
  const policy = (direction: number): Buffer => {
    const payload = Buffer.alloc(168);
    payload[160] = direction;
    return payload;
  };
  expect([0, 1, 2, 3, 4].map((direction) => isOfSocket(policy(direction)))).toEqual([false, false, false, true, true]);
});
