/** A context of asynchronous I/O, as it is in an image, and how much room the kernel gives to one: aio_setup_ring() of fs/aio.c. */
import * as v from 'valibot';
import { byteString, count, integerBetween } from '../image/schema.ts';

const PAGE = 4096;
/** `struct aio_ring` without its answers, and `struct io_event` of linux/aio_abi.h. */
export const AIO_HEADER_SIZE = 32;
export const AIO_EVENT_SIZE = 32;

/** How many answers a ring of this size has room for. */
export const aioSlots = (sizeBytes: number): number => Math.floor((sizeBytes - AIO_HEADER_SIZE) / AIO_EVENT_SIZE);

/** The size of the ring that io_setup(2) makes, in bytes. `cpus`: how many there may ever be. */
export function aioRingBytes(wanted: number, cpus: number): number {
  const slots = 2 * Math.max(wanted, 4 * cpus) + 2;
  return Math.ceil((AIO_HEADER_SIZE + slots * AIO_EVENT_SIZE) / PAGE) * PAGE;
}

/**
 * What to ask io_setup(2) for so that the ring has that size: what it was asked for, or if the number of processors is another here the most that leads to
 * it. Undefined if none does.
 */
export function aioWish(wanted: number, sizeBytes: number, cpus: number): number | undefined {
  if (aioRingBytes(wanted, cpus) === sizeBytes) return wanted;
  const most = Math.floor((aioSlots(sizeBytes) - 2) / 2);
  return most > 0 && aioRingBytes(most, cpus) === sizeBytes ? most : undefined;
}

/** How many answers can wait in a ring at once: room is given to processors in pieces of this size (req_batch), and a rest that is none is not used. */
export function mostUnread(slots: number, cpus: number): number {
  const piece = Math.max(1, Math.floor((slots - 1) / (4 * cpus)));
  return slots - 1 - ((slots - 1) % piece);
}

const MAX_SLOTS = 1 << 21;
const slot = integerBetween(0, MAX_SLOTS - 1);
const places = v.strictObject({
  /** How many requests it was asked to have room for. */
  wanted: v.pipe(count, v.minValue(1), v.maxValue(MAX_SLOTS)),
  slots: integerBetween(2, MAX_SLOTS),
  /** The next answer to be read, and the place of the next to come. */
  head: slot,
  tail: slot,
  /** What is between the two, in order. */
  events: byteString(MAX_SLOTS * AIO_EVENT_SIZE),
});
export type AioRing = v.InferOutput<typeof places>;

export const unreadAnswers = ({ slots, head, tail }: Pick<AioRing, 'slots' | 'head' | 'tail'>): number =>
  (tail - head + slots) % slots;

export const aioRingState = v.pipe(
  places,
  v.check(({ slots, head, tail }) => head < slots && tail < slots, 'must be within the ring'),
  v.check(
    (ring) => ring.events.length === unreadAnswers(ring) * AIO_EVENT_SIZE,
    'must have as many answers as are unread',
  ),
);
