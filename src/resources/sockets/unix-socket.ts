/**
 * A UNIX socket whose other end is in what is saved too, or that has none: unix(7). Who is connected to whom, files, backlogs and
 * shutdown are read from sock_diag(7) (unix_diag, Linux 3.3), what waits in it with MSG_PEEK, descriptors in flight included, the rest with
 * getsockopt(2). Both ends of a pair are made by the process that made them, if that is restarted, so that SO_PEERCRED says the same.
 * Refused: an out-of-band byte, filters of eBPF, other ends outside unless the user says what becomes of them. Lost: the order of connections that
 * wait to be accepted, an empty datagram that somebody has peeked at from an offset, the number of a sender of a message that has ended since.
 */
import { SOCKET } from '../../kernel/abi/socket.ts';
import type { DescriptorKind } from '../resource.ts';
import { socketFacts } from './facts.ts';
import { collectUnix, unixObstacles } from './unix-collect.ts';
import { descriptorsInFlight } from './unix-messages.ts';
import { planName } from './unix-names.ts';
import { planOutside, remarkOnOutside } from './unix-outside.ts';
import { finishUnix, restoreUnix, settleUnix } from './unix-restore.ts';
import { type UnixSocket, unixSchema } from './unix-state.ts';

export const unixSocket: DescriptorKind<UnixSocket> = {
  kind: 'unix-socket',
  schema: unixSchema,
  recognise: (view) => socketFacts(view)?.domain === SOCKET.AF_UNIX,
  needsRest: true,
  carried: descriptorsInFlight,
  obstacles: unixObstacles,
  collect: collectUnix,
  plan: ({ own: { name, place }, type, other, outside }, _host, path) => [
    ...(name.length === 0 ? [] : planName({ name, place: place[0], type }, path)),
    ...(outside?.becomes === 'connected-again' ? planOutside(other.name, type, path) : []),
  ],
  objectsOf: ({ queue }) => queue.flatMap(({ descriptors = [] }) => descriptors),
  restore: restoreUnix,
  settle: settleUnix,
  finish: finishUnix,
  remark: ({ keepsCredentials, credentials, outside, other }, fd) => {
    if (outside !== undefined) return remarkOnOutside(outside, other.name, fd);
    return keepsCredentials
      ? undefined
      : `descriptor ${fd} is a socket whose other end was made by process ${credentials[0]?.pid ?? 0}: after a restart SO_PEERCRED names another`;
  },
};
