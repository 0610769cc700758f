/** What pipes and FIFOs share: capacity, and the bytes that wait in them, in packets where they were written so (pipe(7)). */
import * as v from 'valibot';
import { boundedArray, byteString, integerBetween } from '../image/schema.ts';
import { FCNTL, OPEN } from '../kernel/abi/fcntl.ts';
import { fcntl } from '../kernel/calls/descriptors.ts';
import { fillPipe, type PipeContent, pipeContent } from '../kernel/calls/pipes.ts';
import { pipeSizeLimit } from '../procfs/pipe-size-limit.ts';
import type { ProcessStatus } from '../procfs/status.ts';
import type { LocalFd } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import type { DescriptorView } from './resource.ts';
import { STATUS_FLAGS } from './status-flags.ts';

const MAX_PIPE_BYTES = 1 << 26;
const PAGE = 4096;

export const capacity = integerBetween(PAGE, 2 ** 31);
/** The queued bytes; only one of the read ends has them. */
export const content = byteString(MAX_PIPE_BYTES);
/** The lengths of the packets that they are; none: a stream. */
export const packets = v.optional(boundedArray(integerBetween(1, PAGE), MAX_PIPE_BYTES / PAGE), []);

/** Flags that F_SETFL sets: O_DIRECT is the packet mode of a writer. */
const PIPE_FLAGS = STATUS_FLAGS | OPEN.O_DIRECT;

export const isReader = ({ info }: DescriptorView): boolean => (info.flags & OPEN.O_ACCMODE) !== OPEN.O_WRONLY;

export const capacityOf = (own: LocalFd): number => fcntl(own, FCNTL.F_GETPIPE_SZ, 0, 'ask for the capacity of a pipe');

export function setCapacity(own: LocalFd, bytes: number): void {
  if (capacityOf(own) !== bytes) fcntl(own, FCNTL.F_SETPIPE_SZ, bytes, 'set the capacity of a pipe');
}

export const setPipeFlags = (own: LocalFd, flags: number): void => {
  fcntl(own, FCNTL.F_SETFL, flags & PIPE_FLAGS, 'set the flags of a pipe');
};

/** Without the packets if it is a stream. `ends`: all of the same pipe. */
export function contentOf(own: LocalFd, ends: readonly DescriptorView[]): PipeContent {
  const { bytes, pieces } = pipeContent(own);
  const writesPackets = ends.some(({ info }) => (info.flags & OPEN.O_DIRECT) !== 0);
  return { bytes, pieces: writesPackets || pieces.length > 1 ? pieces : [] };
}

/** `writer` may be in use already: its flags are what they were afterwards. */
export function fill(writer: LocalFd, bytes: Uint8Array, pieces: readonly number[]): void {
  if (bytes.length === 0) return;
  const flags = fcntl(writer, FCNTL.F_GETFL, 0, 'ask for the flags of a pipe');
  fcntl(writer, FCNTL.F_SETFL, OPEN.O_NONBLOCK | (pieces.length > 0 ? OPEN.O_DIRECT : 0), 'set the flags of a pipe');
  let at = 0;
  for (const length of pieces.length > 0 ? pieces : [bytes.length]) {
    fillPipe(writer, bytes.subarray(at, at + length));
    at += length;
  }
  setPipeFlags(writer, flags);
}

export const piecesFit = (bytes: Uint8Array, pieces: readonly number[]): boolean =>
  pieces.length === 0 || pieces.reduce((sum, length) => sum + length, 0) === bytes.length;

/** linux/capability.h */
const CAP_SYS_RESOURCE = 1n << 24n;

/** Beyond pipe-max-size only who has the capability may make one (fcntl(2), F_SETPIPE_SZ). */
export function capacityProblems(bytes: number, { capEffective }: ProcessStatus, path: readonly string[]): Problem[] {
  const limit = pipeSizeLimit();
  if (bytes <= limit || (capEffective & CAP_SYS_RESOURCE) !== 0n) return [];
  return [
    {
      code: 'pipe-capacity',
      path,
      message: `It is a pipe for ${bytes} bytes, and the limit is ${limit} here.`,
      remedy: `Raise it: sysctl fs.pipe-max-size=${bytes}`,
    },
  ];
}
