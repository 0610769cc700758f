/**
 * Everything that is saved and restored, in order. The order within one list is the order of restoring; the first
 * descriptor or mapping kind that recognises something has it.
 */
import { directory } from './files/directory.ts';
import { epoll } from './files/epoll.ts';
import { eventfd } from './files/eventfd.ts';
import { externalStream } from './files/external-stream.ts';
import { fanotify } from './files/fanotify.ts';
import { fifo } from './files/fifo.ts';
import { inotify } from './files/inotify.ts';
import { ioUring } from './files/io-uring.ts';
import { memfd } from './files/memfd.ts';
import { memoryDevice } from './files/memory-device.ts';
import { pathOnly } from './files/path-only.ts';
import { pidfd } from './files/pidfd.ts';
import { pipe } from './files/pipe.ts';
import { procFile } from './files/proc-file.ts';
import { regularFile } from './files/regular-file.ts';
import { sharedMemory } from './files/shared-memory.ts';
import { signalfd } from './files/signalfd.ts';
import { timerfd } from './files/timerfd.ts';
import { unlinkedFile } from './files/unlinked-file.ts';
import { segment } from './ipc/segment.ts';
import { aioRing } from './memory/aio-ring.ts';
import { droppable } from './memory/droppable.ts';
import { privateFile, sharedFile } from './memory/file-mappings.ts';
import { hugePages } from './memory/huge-pages.ts';
import { kernelMapping } from './memory/kernel-mappings.ts';
import { privateObject, sharedObject } from './memory/object-mappings.ts';
import { privateAnonymous } from './memory/private-anonymous.ts';
import { ringMapping } from './memory/ring-mapping.ts';
import { segmentMapping } from './memory/segment-mapping.ts';
import { credentials } from './process/credentials.ts';
import { fileSystemContext } from './process/file-system-context.ts';
import { futureLocking } from './process/future-locking.ts';
import { intervalTimers } from './process/interval-timers.ts';
import { limits } from './process/limits.ts';
import { mappingPolicies } from './process/mapping-policies.ts';
import { membarrier } from './process/membarrier.ts';
import { memoryMapFields } from './process/memory-map-fields.ts';
import { namespaces } from './process/namespaces.ts';
import { posixTimers } from './process/posix-timers.ts';
import { procFiles } from './process/proc-files.ts';
import { semaphoreAdjustments } from './process/semaphore-adjustments.ts';
import { session } from './process/session.ts';
import { processSettings } from './process/settings.ts';
import { sharedPendingSignals } from './process/shared-pending-signals.ts';
import { signalActions } from './process/signal-actions.ts';
import { surroundings } from './process/surroundings.ts';
import { systemV } from './process/system-v.ts';
import { unseenState } from './process/unseen-state.ts';
import type { DescriptorKind, MappingKind, ProcessAspect, ThreadAspect } from './resource.ts';
import { netlinkSocket } from './sockets/netlink-socket.ts';
import { otherSocket } from './sockets/other-socket.ts';
import { packetSocket } from './sockets/packet-socket.ts';
import { rawSocket } from './sockets/raw-socket.ts';
import { tcpSocket } from './sockets/tcp-socket.ts';
import { udpSocket } from './sockets/udp-socket.ts';
import { unixSocket } from './sockets/unix-socket.ts';
import { ptyMaster } from './terminals/pty-master.ts';
import { ptySlave } from './terminals/pty-slave.ts';
import { memoryPolicy } from './thread/memory-policy.ts';
import { threadName } from './thread/name.ts';
import { ownFileSystem } from './thread/own-file-system.ts';
import { ownPendingSignals } from './thread/own-pending-signals.ts';
import { scheduling } from './thread/scheduling.ts';
import { seccomp } from './thread/seccomp.ts';
import { threadSettings } from './thread/settings.ts';
import { signalStack } from './thread/signal-stack.ts';
import { threadPointers } from './thread/thread-pointers.ts';

/**
 * A kind whose state type is forgotten. What `collect` of a kind returns is only ever given to the same kind's schema and
 * `restore`, so the types fit although the list cannot say so.
 */
type Erased<Kind> = Kind;

function erase<Kind>(kind: unknown): Erased<Kind> {
  return kind as Erased<Kind>;
}

export const processAspects: readonly ProcessAspect<unknown>[] = [
  namespaces,
  credentials,
  session,
  fileSystemContext,
  procFiles,
  memoryMapFields,
  mappingPolicies,
  signalActions,
  processSettings,
  membarrier,
  futureLocking,
  intervalTimers,
  posixTimers,
  sharedPendingSignals,
  systemV,
  semaphoreAdjustments,
  unseenState,
  surroundings,
  limits,
].map((aspect) => erase<ProcessAspect<unknown>>(aspect));

export const threadAspects: readonly ThreadAspect<unknown>[] = [
  threadName,
  scheduling,
  signalStack,
  threadSettings,
  memoryPolicy,
  ownFileSystem,
  ownPendingSignals,
  threadPointers,
  seccomp,
].map((aspect) => erase<ThreadAspect<unknown>>(aspect));

export const descriptorKinds: readonly DescriptorKind<unknown>[] = [
  pathOnly,
  procFile,
  regularFile,
  memfd,
  sharedMemory,
  segment,
  unlinkedFile,
  directory,
  memoryDevice,
  timerfd,
  signalfd,
  ptyMaster,
  ptySlave,
  externalStream,
  pipe,
  unixSocket,
  udpSocket,
  tcpSocket,
  netlinkSocket,
  packetSocket,
  rawSocket,
  otherSocket,
  fifo,
  inotify,
  fanotify,
  pidfd,
  eventfd,
  ioUring,
  epoll,
].map((kind) => erase<DescriptorKind<unknown>>(kind));

export const mappingKinds: readonly MappingKind<unknown>[] = [
  kernelMapping,
  aioRing,
  ringMapping,
  privateAnonymous,
  droppable,
  hugePages,
  segmentMapping,
  privateObject,
  sharedObject,
  privateFile,
  sharedFile,
].map((kind) => erase<MappingKind<unknown>>(kind));
