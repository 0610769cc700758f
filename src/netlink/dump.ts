/** A request that the kernel answers with many messages (NLM_F_DUMP, netlink(7)). */
import { NETLINK } from '../kernel/abi/netlink.ts';
import { openNetlink, receiveNetlink, sendNetlink } from '../kernel/calls/netlink.ts';
import { KernelError } from '../kernel/errors.ts';
import { decodeMessages, encodeMessage, type Message, ofAtLeast } from './messages.ts';

const ATTEMPTS = 20;

/** `what` for the error, as an infinitive. The kernel says when its list has changed under it: then it is asked again. */
export function dump(protocol: number, request: Pick<Message, 'type' | 'payload'>, what: string): Message[] {
  let last: Message[] = [];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    last = dumpOnce(protocol, request, what);
    if (last.every(({ flags }) => (flags & NETLINK.NLM_F_DUMP_INTR) === 0)) break;
  }
  return last;
}

function dumpOnce(protocol: number, request: Pick<Message, 'type' | 'payload'>, what: string): Message[] {
  const socket = openNetlink(protocol);
  try {
    const flags = NETLINK.NLM_F_REQUEST | NETLINK.NLM_F_DUMP;
    sendNetlink(socket.number, encodeMessage({ ...request, flags, sequence: 1 }));
    const found: Message[] = [];
    for (;;) {
      for (const message of decodeMessages(receiveNetlink(socket.number))) {
        if (message.type === NETLINK.NLMSG_DONE) return found;
        if (message.type === NETLINK.NLMSG_ERROR) throw new KernelError('netlink', errnoOf(message), { doing: what });
        found.push(message);
      }
    }
  } finally {
    socket.close();
  }
}

/** Of NLMSG_ERROR: positive, or 0 for an acknowledgement. */
export const errnoOf = ({ payload }: Message): number => -ofAtLeast(4, payload).readInt32LE(0);
