/**
 * A ring of requests to the kernel: io_uring(7). Its memory is read where the program maps it; what it was made with, and that no request is being worked
 * on, from the kernel's own struct (ring-facts.ts). Saved: an idle ring, also with completions that nobody has taken and submissions that have not
 * been handed in, and registered files, buffers, eventfd and limit of workers. Refused: requests in flight, what else has been registered, a thread of the
 * kernel's that polls it.
 * Lost: who pays for its memory, the processors and the number of its workers.
 */
import * as v from 'valibot';
import { byteString, count, u32 } from '../../image/schema.ts';
import { ERRNO } from '../../kernel/abi/errno.ts';
import { FCNTL } from '../../kernel/abi/fcntl.ts';
import { IORING } from '../../kernel/abi/io-uring.ts';
import { duplicateFrom, fcntl, tryOpenPidfd } from '../../kernel/calls/descriptors.ts';
import { RingMemory, type RingShape, tryMakeRing } from '../../kernel/calls/io-uring.ts';
import { KernelObjects, UnknownKernelObject } from '../../kernel/kernel-objects.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { LocalFd, Pid } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorKind, DescriptorView } from '../resource.ts';
import { type RingFacts, readRing } from '../ring-facts.ts';
import { isOfOneTask, otherLayout, remakeRing, sqeSize } from '../ring-making.ts';
import {
  lostRegistrations,
  registerAgain,
  registeredDescriptors,
  ringRegistrations,
  savedRegistrations,
} from '../ring-registrations.ts';
import { STATUS_FLAGS } from '../status-flags.ts';

const PAGE = 4096;
/** IORING_MAX_ENTRIES and IORING_MAX_CQ_ENTRIES of io_uring/io_uring.h. */
const MAX_SQ_ENTRIES = 1 << 15;
const MAX_CQ_ENTRIES = 1 << 16;
const MAX_BYTES = 8 << 20;

/** What a ring may have been made with to be made again. */
const SAVED_SETUP =
  IORING.IORING_SETUP_CQSIZE |
  IORING.IORING_SETUP_CLAMP |
  IORING.IORING_SETUP_SUBMIT_ALL |
  IORING.IORING_SETUP_COOP_TASKRUN |
  IORING.IORING_SETUP_TASKRUN_FLAG |
  IORING.IORING_SETUP_SQE128 |
  IORING.IORING_SETUP_CQE32 |
  IORING.IORING_SETUP_SINGLE_ISSUER |
  IORING.IORING_SETUP_DEFER_TASKRUN |
  IORING.IORING_SETUP_NO_SQARRAY;

const isPowerOfTwo = (value: number): boolean => value > 0 && (value & (value - 1)) === 0;
const entries = (max: number) => v.pipe(u32, v.maxValue(max), v.check(isPowerOfTwo, 'must be a power of two'));

const schema = v.pipe(
  v.strictObject({
    flags: u32,
    /** Who has made it. */
    pid: u32,
    setup: v.pipe(
      u32,
      v.check((setup) => (setup & ~SAVED_SETUP) === 0, 'must be flags that a ring can be made again with'),
    ),
    sqEntries: entries(MAX_SQ_ENTRIES),
    cqEntries: entries(MAX_CQ_ENTRIES),
    sqHead: u32,
    cqTail: u32,
    offsets: v.strictObject({ cqes: v.pipe(u32, v.maxValue(PAGE)), array: v.pipe(u32, v.maxValue(MAX_BYTES)) }),
    ringBytes: v.pipe(count, v.maxValue(MAX_BYTES)),
    sqeBytes: v.pipe(count, v.maxValue(MAX_BYTES)),
    rings: byteString(MAX_BYTES),
    sqes: byteString(MAX_BYTES),
    registrations: ringRegistrations,
  }),
  v.check((ring) => ring.cqTail <= ring.sqHead, 'must not have more completions than submissions'),
  v.check((ring) => ring.cqEntries >= ring.sqEntries, 'must have room for a completion of each submission'),
  v.check(
    (ring) => ring.ringBytes === bytesOfRings(ring) && ring.sqeBytes === wholePages(ring.sqEntries * sqeSize(ring)),
    'must have as much memory as its entries take',
  ),
  v.check(
    (ring) => ring.rings.length <= ring.ringBytes && ring.sqes.length <= ring.sqeBytes,
    'must have no more bytes than memory',
  ),
);
type IoUring = v.InferOutput<typeof schema>;

const wholePages = (sizeBytes: number): number => Math.ceil(sizeBytes / PAGE) * PAGE;

/** The index array comes behind the completions, aligned to a cache line. */
function bytesOfRings({ setup, sqEntries, cqEntries, offsets }: RingShape & Pick<RingFacts, 'offsets'>): number {
  const cqeSize = (setup & IORING.IORING_SETUP_CQE32) === 0 ? 16 : 32;
  const endOfCqes = offsets.cqes + cqEntries * cqeSize;
  const hasArray = (setup & IORING.IORING_SETUP_NO_SQARRAY) === 0;
  if (hasArray !== offsets.array > 0 || (hasArray && offsets.array < endOfCqes)) return -1;
  return wholePages(hasArray ? offsets.array + 4 * sqEntries : endOfCqes);
}

export const ioUring: DescriptorKind<IoUring> = {
  kind: 'io_uring',
  schema,
  recognise: ({ descriptor }) => descriptor.kind === 'anon_inode' && descriptor.name === 'io_uring',
  obstacles: (view) => [...heldOutside(view, 'an io_uring'), ...oddRing(view)],
  // What it is depends on what the program does just now.
  needsRest: true,
  isMapped: true,
  passesByHandle: true,
  collect: ({ own, pid, info }) => {
    const facts = readRing(kernelObjects(), own, pid);
    const { setup, sqEntries, cqEntries, sqHead, cqTail, offsets } = facts;
    const ringBytes = facts.ringPages * PAGE;
    const sqeBytes = facts.sqePages * PAGE;
    return {
      flags: (info.flags & STATUS_FLAGS) >>> 0,
      pid,
      setup,
      sqEntries,
      cqEntries,
      sqHead,
      cqTail,
      offsets,
      ringBytes,
      sqeBytes,
      rings: memoryOf(own, IORING.IORING_OFF_SQ_RING, ringBytes),
      sqes: memoryOf(own, IORING.IORING_OFF_SQES, sqeBytes),
      registrations: savedRegistrations(facts.registrations),
    };
  },
  plan: (state, _host, path) => cannotBeMade(state, path),
  descriptorsOf: ({ registrations }) => registeredDescriptors(registrations),
  touchesMemory: ({ registrations: { buffers } }) => buffers.length > 0,
  restore: (state, world) => {
    const made = remakeRing(state, world.process(state.pid) ?? world.root());
    fcntl(made.number, FCNTL.F_SETFL, state.flags & STATUS_FLAGS, 'set the flags of an io_uring');
    return made;
  },
  finish: ({ registrations }, process, fd) => registerAgain(registrations, process, fd),
};

/** Not the zeros at its end. */
function memoryOf(own: LocalFd, offset: number, sizeBytes: number): Buffer {
  const memory = RingMemory.map(own, offset, sizeBytes);
  try {
    const end = memory.bytes.findLastIndex((byte) => byte !== 0) + 1;
    return Buffer.from(memory.bytes.subarray(0, end));
  } finally {
    memory.unmap();
  }
}

function kernelObjects(): KernelObjects {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) throw new UnknownKernelObject('the kernel shows none of its objects');
  return kernel;
}

const UNTIL_CLOSED = 'Save it when the program has closed it.';

function oddRing(view: DescriptorView): Problem[] {
  const problem = (code: 'io-uring' | 'busy-io-uring', message: string, remedy = UNTIL_CLOSED): Problem => ({
    code,
    path: [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target],
    message,
    remedy,
  });
  if (KernelObjects.tryOpen() === undefined) {
    const message =
      'It has an io_uring open, and what that has in it is only to be seen with CAP_BPF and CAP_PERFMON, on a kernel with type information (BTF).';
    // libuv 1.51 heeds UV_USE_IO_URING no more for the ring in which it collects its calls of epoll_ctl(2).
    const remedy =
      'Save it as root, or run the program without it: kernel.io_uring_disabled=2, or for Node 20 UV_USE_IO_URING=0 (Node 22 and newer open one all the same).';
    return [problem('io-uring', message, remedy)];
  }
  const facts = factsOf(view);
  if (facts === undefined) {
    return [problem('io-uring', 'It has an io_uring open of a kind that this version does not know.')];
  }
  const odd = oddities(facts, view).map((what) => problem('io-uring', `It has an io_uring open ${what}.`));
  if (facts.inFlight === 0 && !facts.hasOverflow) return odd;
  const waiting = facts.hasOverflow ? 'completions that the ring has no room for' : requests(facts.inFlight);
  const busy = `Its io_uring has ${waiting}, which only the kernel knows.`;
  return [...odd, problem('busy-io-uring', busy, 'Try again when they have been answered.')];
}

const requests = (number: number): string => (number === 1 ? 'a request in flight' : `${number} requests in flight`);

/** A running program may answer or begin requests at any time: what is in flight only for a moment does not count. */
const LOOKS_WHILE_RUNNING = 10;

function factsOf(view: DescriptorView): RingFacts | undefined {
  let facts: RingFacts | undefined;
  for (let looks = view.queuesSeen ? 1 : LOOKS_WHILE_RUNNING; looks > 0; looks--) {
    facts = withOwn(view, (own) => tryReadRing(own, view.pid));
    if (facts === undefined || (facts.inFlight === 0 && !facts.hasOverflow)) return facts;
  }
  return facts;
}

function tryReadRing(own: LocalFd, pid: Pid): RingFacts | undefined {
  try {
    return readRing(kernelObjects(), own, pid);
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}

function withOwn<T>({ pid, fd }: DescriptorView, use: (own: LocalFd) => T): T | undefined {
  const pidfd = tryOpenPidfd(pid);
  if (pidfd === undefined) return undefined;
  let own: OwnedFd | undefined;
  try {
    own = duplicateFrom(pidfd.number, fd, pid);
    return use(own.number);
  } finally {
    own?.close();
    pidfd.close();
  }
}

function oddities(facts: RingFacts, view: DescriptorView): string[] {
  const { setup, issuer } = facts;
  const registered = lostRegistrations(facts);
  const isOneTasks = isOfOneTask(facts);
  const found: [boolean, string][] = [
    [(setup & IORING.IORING_SETUP_SQPOLL) !== 0, 'that a thread of the kernel polls (IORING_SETUP_SQPOLL)'],
    [(setup & IORING.IORING_SETUP_IOPOLL) !== 0, 'that polls devices (IORING_SETUP_IOPOLL)'],
    [(setup & IORING.IORING_SETUP_R_DISABLED) !== 0, 'that is not enabled yet (IORING_SETUP_R_DISABLED)'],
    [(setup & IORING.IORING_SETUP_NO_MMAP) !== 0, "in the program's own memory (IORING_SETUP_NO_MMAP)"],
    [facts.isCompat, 'that 32-bit code has made'],
    [isOneTasks && issuer !== view.pid, `that only thread ${issuer} may use (IORING_SETUP_SINGLE_ISSUER)`],
    [registered.length > 0, `with ${registered.join(', ')} registered`],
    [facts.cqTail > facts.sqHead, 'that has posted more completions than it has taken requests'],
  ];
  const named = found.flatMap(([is, what]) => (is ? [what] : []));
  const isUnknown = (setup & ~SAVED_SETUP) !== 0 && named.length === 0;
  return isUnknown ? [`that was made in a way that cannot be saved yet (0x${setup.toString(16)})`] : named;
}

function cannotBeMade(state: IoUring, path: readonly string[]): Problem[] {
  const tried = tryMakeRing(state);
  if (typeof tried === 'number') {
    const why =
      tried === -ERRNO.EPERM ? 'may not be used here (kernel.io_uring_disabled)' : 'of its kind cannot be made here';
    const remedy =
      tried === -ERRNO.EPERM
        ? 'Set the sysctl kernel.io_uring_disabled to 0.'
        : 'Restart it on the kernel on which it was saved.';
    return [{ code: 'no-io-uring', path, message: `It has an io_uring, and an io_uring ${why}.`, remedy }];
  }
  tried.ring.close();
  const { cqes, array } = tried.offsets;
  if (cqes === state.offsets.cqes && array === state.offsets.array) return [];
  const { code, message, remedy } = otherLayout();
  return [{ code, path, message, remedy }];
}
