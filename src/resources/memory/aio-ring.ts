/**
 * A context of asynchronous I/O (io_setup(2)): the program knows it by the address where its ring of answers is mapped. Saved when nothing is in flight, which
 * the kernel's own struct tells (aio-facts.ts): what is, is waited for. Answers that the program has not read are in the image, those that it has read are not.
 */
import { MAP } from '../../kernel/abi/mman.ts';
import { KernelObjects, UnknownKernelObject } from '../../kernel/kernel-objects.ts';
import { type Pid, remoteAddress } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { readRemote } from '../../tracee/remote-memory.ts';
import { type AioContext, readAioContexts } from '../aio-facts.ts';
import { AIO_EVENT_SIZE, AIO_HEADER_SIZE, type AioRing, aioRingState, aioSlots, unreadAnswers } from '../aio-room.ts';
import { isAioRing } from '../memory-objects.ts';
import type { MappingKind, MappingOfTree } from '../resource.ts';

/** How long requests may take that are in flight when the program stands still. */
const PATIENCE_MS = 1000;
const LOOK_EVERY_MS = 0.2;
const HEAD_OFFSET = 8;

export const aioRing: MappingKind<AioRing> = {
  kind: 'aio-ring',
  schema: aioRingState,
  recognise: isAioRing,
  treeObstacles: (mappings) => mappings.flatMap(obstacle),
  pages: 'none',
  // VM_DONTEXPAND, which aio_ring_mmap_prepare() gives.
  ownWords: ['de'],
  collect: ({ start, end }, { pid, speaker }) => collect(pid, speaker, start, end - start),
  mapping: (ring) => ({ flags: MAP.MAP_SHARED, file: 0, aio: ring, name: '' }),
};

function obstacle({ pid, mapping }: MappingOfTree): Problem[] {
  const path = [`pid ${pid}`, `mapping 0x${mapping.start.toString(16)}`];
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return [{ ...unseen, path }];
  try {
    const found = contextAt(kernel, pid, mapping.start, mapping.end - mapping.start);
    return found === undefined ? [{ ...strange, path }] : [];
  } catch (error) {
    if (error instanceof UnknownKernelObject) return [{ ...unseen, path }];
    throw error;
  }
}

type Reason = Omit<Problem, 'path'> & { readonly remedy: string };

const unseen: Reason = {
  code: 'aio',
  message: 'It is a ring of asynchronous I/O (io_setup): whether requests of it are in flight cannot be seen here.',
  remedy:
    'Save it with CAP_BPF and CAP_PERFMON on a kernel that shows its structs (CONFIG_DEBUG_INFO_BTF), or have the program use none (MySQL: innodb_use_native_aio=OFF).',
};

const strange: Reason = {
  code: 'aio',
  message:
    'It is a ring of asynchronous I/O (io_setup) that is none of the process itself, as after a fork, or not whole.',
  remedy: 'Save it when the program has unmapped this memory.',
};

const refusal = ({ code, message, remedy }: Reason): QuicksaveError => new QuicksaveError(code, message, { remedy });

function contextAt(kernel: KernelObjects, pid: Pid, address: number, sizeBytes: number): AioContext | undefined {
  const found = readAioContexts(kernel, pid).find((one) => one.address === address);
  return found?.sizeBytes === sizeBytes && found.slots === aioSlots(sizeBytes) ? found : undefined;
}

function collect(pid: Pid, speaker: Pid, start: number, sizeBytes: number): AioRing {
  const { wanted, slots, tail } = awaitAnswers(pid, start, sizeBytes);
  const memory = readRemote(speaker, remoteAddress(start), sizeBytes);
  const head = memory.readUInt32LE(HEAD_OFFSET);
  if (head >= slots) throw refusal(strange);
  const ring = { wanted, slots, head, tail };
  const places = Array.from({ length: unreadAnswers(ring) }, (_, index) => ((head + index) % slots) * AIO_EVENT_SIZE);
  const events = places.map((at) => memory.subarray(AIO_HEADER_SIZE + at, AIO_HEADER_SIZE + at + AIO_EVENT_SIZE));
  return { ...ring, events: Buffer.concat(events) };
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * The kernel goes on with requests while the program stands still. An answer between two looks at the counters of one would make them wrong: they are
 * taken when the next look finds no further answer.
 */
function awaitAnswers(pid: Pid, start: number, sizeBytes: number): AioContext {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) throw refusal(unseen);
  const look = (): AioContext => {
    const found = contextAt(kernel, pid, start, sizeBytes);
    if (found === undefined) throw refusal(strange);
    return found;
  };
  const deadline = performance.now() + PATIENCE_MS;
  for (let [before, now] = [look(), look()]; ; [before, now] = [now, look()]) {
    if (before.inFlight === 0 && now.inFlight === 0 && before.tail === now.tail) return now;
    if (performance.now() > deadline) throw busy(start, now);
    Atomics.wait(pause, 0, 0, LOOK_EVERY_MS);
  }
}

const busy = (start: number, { inFlight }: AioContext): QuicksaveError =>
  new QuicksaveError(
    'busy-aio',
    `The kernel still works on ${inFlight} request${inFlight === 1 ? '' : 's'} of the asynchronous I/O at 0x${start.toString(16)} (io_submit).`,
    { remedy: 'Try again when they have been answered.' },
  );
