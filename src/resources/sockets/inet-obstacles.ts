/** What stands in the way of saving any socket of the internet protocols. */
import { IP } from '../../kernel/abi/inet.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { askSocket } from '../../kernel/calls/sockets.ts';
import { type Group, readMulticastGroups } from '../../procfs/multicast.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { ErrorCode } from '../../support/error-pages/catalogue.ts';
import type { Problem } from '../../support/errors.ts';
import type { DescriptorView } from '../resource.ts';
import { lookThrough, socketFacts } from './facts.ts';

export const inetProblem = (view: DescriptorView, code: ErrorCode, what: string, remedy?: string): Problem => ({
  code,
  path: [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target],
  message: `${what}, which cannot be saved.`,
  remedy: remedy ?? 'Save it when the program has closed it.',
});

export const inetObstacles = (view: DescriptorView): Problem[] =>
  socketFacts(view)?.filtered ? [inetProblem(view, 'socket-filter', 'It has a filter (SO_ATTACH_FILTER)')] : [];

/** The kernel lists the groups of each interface; whether a socket is in one of them it only tells who asks for that group. */
export function membershipObstacles(view: DescriptorView): Problem[] {
  const groups = readMulticastGroups(view.pid);
  const joined = lookThrough(view, (own) => groups.find((group) => isMember(own, group)));
  if (joined === undefined) return [];
  const remedy = 'Save it when the program has left the group.';
  return [inetProblem(view, 'multicast-member', `It is a member of the multicast group ${joined.text}`, remedy)];
}

/** struct group_filter of linux/in.h, without sources. */
const FILTER_SIZE = 144;
const GROUP_AT = 8;

function isMember(own: LocalFd, { interfaceIndex, address }: Group): boolean {
  const filter = Buffer.alloc(FILTER_SIZE);
  filter.writeUInt32LE(interfaceIndex, 0);
  const isV4 = address.length === 4;
  filter.writeUInt16LE(isV4 ? SOCKET.AF_INET : SOCKET.AF_INET6, GROUP_AT);
  filter.set(address, GROUP_AT + (isV4 ? 4 : 8));
  return askSocket(own, isV4 ? SOCKET.IPPROTO_IP : SOCKET.IPPROTO_IPV6, IP.MCAST_MSFILTER, filter) === 0;
}
