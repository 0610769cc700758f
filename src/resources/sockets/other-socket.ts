/** Sockets of families and protocols that cannot be made again: refused by their name, never saved. */
import * as v from 'valibot';
import { u32 } from '../../image/schema.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import type { Problem } from '../../support/errors.ts';
import { QuicksaveError } from '../../support/errors.ts';
import type { DescriptorKind } from '../resource.ts';
import { type SocketFacts, socketFacts } from './facts.ts';

const schema = v.strictObject({ domain: u32, type: u32, protocol: u32 });

export const otherSocket: DescriptorKind<v.InferOutput<typeof schema>> = {
  kind: 'other-socket',
  schema,
  recognise: (view) => socketFacts(view) !== undefined,
  obstacles: (view) => {
    const facts = socketFacts(view);
    return facts === undefined ? [] : [refusal(facts, [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target])];
  },
  collect: (view) => {
    const { domain, type, protocol } = socketFacts(view) ?? { domain: 0, type: 0, protocol: 0 };
    return { domain, type, protocol };
  },
  plan: (facts, _host, path) => [refusal(facts, path)],
  restore: () => {
    throw new QuicksaveError('bad-record', 'The image has a socket of a kind that is never saved.');
  },
};

function refusal(facts: Pick<SocketFacts, 'domain' | 'type' | 'protocol'>, path: readonly string[]): Problem {
  const { name, remedy } = nameOf(facts);
  return { code: 'socket-family', path, message: `It is ${name}, which cannot be saved.`, remedy };
}

interface Family {
  readonly name: string;
  readonly remedy: string;
}

const CLOSE_IT = 'Save it when the program has closed it.';
const WITHOUT = (how: string): string => `Save it when the program has closed it, or run the program ${how}.`;

const FAMILIES: ReadonlyMap<number, Family> = new Map([
  [SOCKET.AF_PACKET, { name: 'a packet socket of the old kind (SOCK_PACKET)', remedy: 'End the capture first.' }],
  [SOCKET.AF_ALG, { name: 'a socket of the ciphers of the kernel (AF_ALG)', remedy: WITHOUT('with its own ciphers') }],
  [SOCKET.AF_VSOCK, { name: 'a vsock socket, to the host of this virtual machine or to a guest', remedy: CLOSE_IT }],
  [SOCKET.AF_XDP, { name: 'an XDP socket', remedy: WITHOUT('without XDP') }],
  [SOCKET.AF_KEY, { name: 'a key management socket (PF_KEY)', remedy: CLOSE_IT }],
  [SOCKET.AF_CAN, { name: 'a CAN bus socket', remedy: CLOSE_IT }],
  [SOCKET.AF_BLUETOOTH, { name: 'a Bluetooth socket', remedy: CLOSE_IT }],
  [SOCKET.AF_TIPC, { name: 'a TIPC socket', remedy: CLOSE_IT }],
  [SOCKET.AF_RDS, { name: 'an RDS socket', remedy: CLOSE_IT }],
  [SOCKET.AF_SMC, { name: 'an SMC socket', remedy: WITHOUT('with TCP instead') }],
]);

const PROTOCOLS: ReadonlyMap<number, Family> = new Map([
  [
    SOCKET.IPPROTO_MPTCP,
    { name: 'a socket of Multipath TCP', remedy: WITHOUT('without it (GODEBUG=multipathtcp=0 for Go)') },
  ],
  [SOCKET.IPPROTO_SCTP, { name: 'an SCTP socket', remedy: CLOSE_IT }],
  [SOCKET.IPPROTO_DCCP, { name: 'a DCCP socket', remedy: CLOSE_IT }],
]);

function nameOf({ domain, protocol }: Pick<SocketFacts, 'domain' | 'protocol'>): Family {
  const family = FAMILIES.get(domain);
  if (family !== undefined) return family;
  if (domain !== SOCKET.AF_INET && domain !== SOCKET.AF_INET6) {
    return { name: `a socket of address family ${domain}`, remedy: CLOSE_IT };
  }
  return PROTOCOLS.get(protocol) ?? { name: `a socket of IP protocol ${protocol}`, remedy: CLOSE_IT };
}
