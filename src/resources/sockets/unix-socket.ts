/**
 * A UNIX socket whose other end is in what is saved too, or that has none: unix(7). Who is connected to whom, files, backlogs and
 * shutdown are read from sock_diag(7) (unix_diag, Linux 3.3), what waits in it with MSG_PEEK, descriptors in flight included, the rest with
 * getsockopt(2). Both ends of a pair are made by the process that made them, if that is restarted, so that SO_PEERCRED says the same.
 * Connections that wait to be accepted: unix-pending.ts. Refused: an out-of-band byte, filters of eBPF, other ends outside unless the user says what
 * becomes of them. Lost: the number of a sender of a message that has ended since; where the kernel's structs cannot be read, an empty message that has been looked at.
 */
import { SOCKET } from '../../kernel/abi/socket.ts';
import type { DescriptorKind } from '../resource.ts';
import { socketFacts } from './facts.ts';
import { isListening, listedEntry } from './unix-census.ts';
import { collectUnix, unixObstacles } from './unix-collect.ts';
import { countInFlight, descriptorsInFlight } from './unix-messages.ts';
import { planName, textOf } from './unix-names.ts';
import { planOutside, remarkOnOutside } from './unix-outside.ts';
import { pendingInFlight, remarkOnPending } from './unix-pending.ts';
import { planPending } from './unix-pending-restore.ts';
import { finishUnix, restoreUnix, settleUnix } from './unix-restore.ts';
import { type UnixSocket, unixSchema } from './unix-state.ts';

export const unixSocket: DescriptorKind<UnixSocket> = {
  kind: 'unix-socket',
  schema: unixSchema,
  recognise: (view) => socketFacts(view)?.domain === SOCKET.AF_UNIX,
  needsRest: true,
  carried: (one, all) => {
    const entry = countInFlight(one) === 0 ? undefined : listedEntry(one);
    if (entry === undefined) return [];
    return isListening(entry) ? pendingInFlight(one, all) : descriptorsInFlight(one, entry, all);
  },
  obstacles: unixObstacles,
  collect: collectUnix,
  plan: ({ own: { name, place }, type, other, outside, pending = [] }, host, path) => [
    ...(name.length === 0 ? [] : planName({ name, place: place[0], type }, path)),
    ...planPending(pending, host, path),
    ...(outside?.becomes === 'connected-again' ? planOutside(other.name, type, path) : []),
  ],
  objectsOf: ({ queue, pending = [] }) =>
    [queue, ...pending.map((one) => one.queue)].flat().flatMap(({ descriptors = [] }) => descriptors),
  restore: restoreUnix,
  settle: settleUnix,
  finish: finishUnix,
  remark: ({ keepsCredentials, pending = [], credentials, outside, own, other }, fd) => {
    if (outside !== undefined) return remarkOnOutside(outside, other.name, fd);
    const waiting = remarkOnPending(pending);
    if (waiting !== undefined) return `descriptor ${fd} (listening on ${textOf(own.name)}) has ${waiting}`;
    return keepsCredentials
      ? undefined
      : `descriptor ${fd} is a socket whose other end was made by process ${credentials[0]?.pid ?? 0}: after a restart SO_PEERCRED names another`;
  },
};
