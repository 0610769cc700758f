/**
 * What a socket of the internet protocols has that no call tells, read where the kernel keeps it (struct sock, inet_sock, ipv6_pinfo; {@link KernelObjects}).
 * Interfaces are numbers, 0 for none.
 */
import type { LocalFd } from '../../support/brand.ts';
import { KernelObjects, UnknownKernelObject } from '../kernel-objects.ts';
import { socketBehind } from './socket-buffers.ts';

export interface InetInternals {
  /** IP_MULTICAST_IF. */
  readonly multicastInterface: number;
  readonly ipv6: Inet6Internals | undefined;
}

export interface Inet6Internals {
  /** IPV6_PKTINFO. */
  readonly packetAddress: Buffer;
  readonly packetInterface: number;
  /** IPV6_MTU; 0: none. */
  readonly fragmentBytes: number;
  /** IPV6_JOIN_ANYCAST. */
  readonly anycast: readonly { readonly address: Buffer; readonly interface: number }[];
}

const MAX_ANYCAST = 4096;

/** The kernel shows them; opened now, so that it is not later, when a program stands still. */
export const showsInternals = (): boolean => KernelObjects.tryOpen() !== undefined;

/** Of a socket that is no stream. */
export const tryReadInternals = (own: LocalFd, isV6: boolean): InetInternals | undefined =>
  look(own, (kernel, socket) => ({
    multicastInterface: number(kernel, 'inet_sock', socket, 'mc_index'),
    ipv6: isV6 ? ofV6(kernel, kernel.u64('inet_sock', socket, 'pinet6')) : undefined,
  }));

/** A program chooses among those that share its port (SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF). */
export const hasChooser = (own: LocalFd): boolean | undefined =>
  look(own, (kernel, socket) => {
    const group = kernel.u64('sock', socket, 'sk_reuseport_cb');
    return group !== 0n && kernel.u64('sock_reuseport', group, 'prog') !== 0n;
  });

/** IP_XFRM_POLICY, IPV6_XFRM_POLICY: for what comes in, or goes out. */
export const hasPolicy = (own: LocalFd): boolean | undefined =>
  look(own, (kernel, socket) =>
    kernel.pointers(socket + BigInt(kernel.offsetOf('sock', 'sk_policy')), 2).some((policy) => policy !== 0n),
  );

function look<T>(own: LocalFd, read: (kernel: KernelObjects, socket: bigint) => T): T | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  try {
    return read(kernel, socketBehind(kernel, kernel.fileOf(own)));
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}

const number = (kernel: KernelObjects, name: string, address: bigint, field: string): number =>
  kernel.bytes(address + BigInt(kernel.offsetOf(name, field)), 4).readUInt32LE(0);

function ofV6(kernel: KernelObjects, part: bigint): Inet6Internals {
  const info = kernel.bytes(part + BigInt(kernel.offsetOf('ipv6_pinfo', 'sticky_pktinfo')), 20);
  const anycast: { address: Buffer; interface: number }[] = [];
  let next = kernel.u64('ipv6_pinfo', part, 'ipv6_ac_list');
  while (next !== 0n) {
    if (anycast.length === MAX_ANYCAST) throw new UnknownKernelObject('a list of addresses has no end');
    const address = kernel.bytes(next + BigInt(kernel.offsetOf('ipv6_ac_socklist', 'acl_addr')), 16);
    anycast.push({ address, interface: number(kernel, 'ipv6_ac_socklist', next, 'acl_ifindex') });
    next = kernel.u64('ipv6_ac_socklist', next, 'acl_next');
  }
  return {
    packetAddress: info.subarray(0, 16),
    packetInterface: info.readUInt32LE(16),
    fragmentBytes: number(kernel, 'ipv6_pinfo', part, 'frag_size'),
    anycast: anycast.reverse(),
  };
}
