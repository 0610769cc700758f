/**
 * What a UDP, raw or ICMP socket has been given that getsockopt(2) does not tell (ip(7), ipv6(7)), as far as the kernel's own structs can be read: by
 * which interface it sends to multicast groups if only that was given (IP_MULTICAST_IF), IPV6_PKTINFO, IPV6_MTU, anycast addresses. Where they cannot be read
 * all of this is lost.
 */
import { networkInterfaces } from 'node:os';
import * as v from 'valibot';
import { boundedArray, byteString, u32 } from '../../image/schema.ts';
import { CAP } from '../../kernel/abi/capability.ts';
import { IP, IPV6 } from '../../kernel/abi/inet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { showsInternals, tryReadInternals } from '../../kernel/calls/inet-internals.ts';
import { setSocketNumber, setSocketOption, trySocketOption } from '../../kernel/calls/sockets.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import { indexOfInterface, interfaceSchema, missingInterfaces, nameOfInterface } from '../interfaces.ts';
import type { DescriptorView, HostView } from '../resource.ts';
import { lookThrough } from './facts.ts';
import { hiddenSettings } from './hidden-settings.ts';

const address = v.pipe(
  byteString(16),
  v.check(({ length }) => length === 16, 'must be an address of IPv6'),
);
const MAX_ANYCAST = 4096;

export const untoldSchema = v.strictObject({
  /** Each is by the name of an interface; none where nothing was given. */
  multicastInterface: v.optional(interfaceSchema),
  packetInfo: v.optional(v.strictObject({ address, interface: v.optional(interfaceSchema) })),
  /** In bytes. */
  fragmentBytes: v.optional(u32),
  anycast: v.optional(boundedArray(v.strictObject({ address, interface: interfaceSchema }), MAX_ANYCAST)),
});
export type UntoldOptions = v.InferOutput<typeof untoldSchema>;

/** What of this cannot be given again. Asked while the program runs, too: what is opened then takes no time when it stands still. */
export function hiddenSettingsOf(view: DescriptorView): Problem[] {
  showsInternals();
  const sharesPort = lookThrough(
    view,
    (own) => trySocketOption(own, SOCKET.SOL_SOCKET, SOCKET.SO_REUSEPORT, 4)?.[0] === 1,
  );
  return hiddenSettings(view, sharesPort === true);
}

const named = (index: number): { interface?: string } => {
  const name = index === 0 ? undefined : nameOfInterface(index);
  return name === undefined ? {} : { interface: name };
};

/** Fields of a state: none if it has nothing of this. */
export function collectUntold(own: LocalFd, domain: number): { untold?: UntoldOptions } {
  const found = tryReadInternals(own, domain === SOCKET.AF_INET6);
  if (found === undefined) return {};
  const multicast = multicastOf(own, found.multicastInterface);
  const { packetAddress = Buffer.alloc(16), packetInterface = 0, fragmentBytes = 0, anycast = [] } = found.ipv6 ?? {};
  const info = { address: packetAddress, ...named(packetInterface) };
  const hasInfo = packetAddress.some((byte) => byte !== 0) || info.interface !== undefined;
  const members = anycast.flatMap((one) => {
    const { interface: name } = named(one.interface);
    return name === undefined ? [] : [{ address: one.address, interface: name }];
  });
  const untold = {
    ...(multicast === undefined ? {} : { multicastInterface: multicast }),
    ...(hasInfo ? { packetInfo: info } : {}),
    ...(fragmentBytes === 0 ? {} : { fragmentBytes }),
    ...(members.length === 0 ? {} : { anycast: members }),
  };
  return Object.keys(untold).length === 0 ? {} : { untold };
}

const ADDRESS_SIZE = 4;
const multicastAddress = (own: LocalFd): Buffer =>
  trySocketOption(own, SOCKET.IPPROTO_IP, IP.IP_MULTICAST_IF, ADDRESS_SIZE) ?? Buffer.alloc(ADDRESS_SIZE);

/** Undefined where the address that was given says it already. */
function multicastOf(own: LocalFd, index: number): string | undefined {
  const { interface: name } = named(index);
  if (name === undefined) return undefined;
  const given = multicastAddress(own).join('.');
  const owners = Object.entries(networkInterfaces()).filter(([, all]) => all?.some((one) => one.address === given));
  // An address may have a label of its own behind the name (eth0:1).
  return owners.some(([label]) => label.split(':')[0] === name) ? undefined : name;
}

export function planUntold(untold: UntoldOptions | undefined, host: HostView, path: readonly string[]): Problem[] {
  const { multicastInterface, packetInfo, anycast = [] } = untold ?? {};
  const names = [multicastInterface, packetInfo?.interface, ...anycast.map((one) => one.interface)];
  const missing = missingInterfaces(
    names.flatMap((name) => name ?? []),
    path,
  );
  const mayJoin = ((host.status.capEffective >> BigInt(CAP.CAP_NET_ADMIN)) & 1n) === 1n;
  if (anycast.length === 0 || mayJoin) return missing;
  return [
    ...missing,
    {
      code: 'not-enough-rights',
      path,
      message:
        'It has anycast addresses (IPV6_JOIN_ANYCAST), which only who administers the network may give it again.',
      remedy: 'Restart it as root, or give quicksave CAP_NET_ADMIN.',
    },
  ];
}

/** Behind all other options. */
export function restoreUntold(made: LocalFd, untold: UntoldOptions | undefined): void {
  const { multicastInterface, packetInfo, fragmentBytes, anycast = [] } = untold ?? {};
  const indexOf = (name: string | undefined): number => (name === undefined ? 0 : (indexOfInterface(name) ?? 0));
  if (multicastInterface !== undefined) {
    const request = Buffer.alloc(12);
    multicastAddress(made).copy(request, 4);
    request.writeUInt32LE(indexOf(multicastInterface), 8);
    setSocketOption(made, SOCKET.IPPROTO_IP, IP.IP_MULTICAST_IF, request);
  }
  const set6 = (option: number, bytes: Uint8Array, name: string | undefined): void => {
    const request = Buffer.alloc(20);
    request.set(bytes);
    request.writeUInt32LE(indexOf(name), 16);
    setSocketOption(made, SOCKET.IPPROTO_IPV6, option, request);
  };
  if (packetInfo !== undefined) set6(IPV6.IPV6_PKTINFO, packetInfo.address, packetInfo.interface);
  if (fragmentBytes !== undefined) setSocketNumber(made, SOCKET.IPPROTO_IPV6, IPV6.IPV6_MTU, fragmentBytes);
  for (const one of anycast) set6(IPV6.IPV6_JOIN_ANYCAST, one.address, one.interface);
}
