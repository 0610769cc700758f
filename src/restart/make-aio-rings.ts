/**
 * Contexts of asynchronous I/O, made in the process by its agent. io_setup(2) maps the ring where it likes, and mremap(2) moves it, by which the context gets its
 * number. The kernel keeps by itself where the next answer goes: as many requests that fail at once are handed in as bring it there.
 */
import { AIO } from '../kernel/abi/aio.ts';
import { MAP, MREMAP, PROT } from '../kernel/abi/mman.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { possibleCpus } from '../procfs/cpus.ts';
import { AIO_EVENT_SIZE, AIO_HEADER_SIZE, type AioRing, aioWish } from '../resources/aio-room.ts';
import { asPid, type Pid, remoteAddress } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import { type BatchRunner, CallBatch } from '../tracee/call-batch.ts';
import { readRemote, writeRemote } from '../tracee/remote-memory.ts';
import type { PlannedMapping } from './process-plan.ts';

const IOCB_SIZE = 64;
const POINTER_SIZE = 8;
const [SLOTS_OFFSET, HEAD_OFFSET] = [4, 8];
/** Of a set of processors: more than any kernel has. */
const CPU_SET_SIZE = 8192 / 8;

/** Requests of one io_submit(2). */
const AT_ONCE = 4096;

type PlannedRing = PlannedMapping['state'] & { readonly ring: AioRing };

export function makeAioRings(agent: BatchRunner, mappings: readonly PlannedMapping[]): void {
  const rings = mappings.flatMap(({ made, state }) => (made?.aio === undefined ? [] : [{ ...state, ring: made.aio }]));
  if (rings.length === 0) return;
  const batch = new CallBatch(agent);
  // The kernel must not choose a place that one of them has to have, or a part of it.
  for (const { start, end } of rings) {
    const flags = MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS | MAP.MAP_NORESERVE | MAP.MAP_FIXED_NOREPLACE;
    if (!batch.hasRoomFor(1, 0)) batch.run();
    batch.call('keep the place of a ring', SYS.mmap, start, end - start, PROT.PROT_NONE, flags, -1, 0);
  }
  // A read of no bytes from it fails at once.
  const eventfd = batch.call('make something to read', SYS.eventfd2, 0, 0);
  const affinity = batch.data(CPU_SET_SIZE);
  batch.call('read the affinity', SYS.sched_getaffinity, 0, CPU_SET_SIZE, affinity.address);
  batch.run();
  const before = Buffer.from(affinity.bytes);
  stayOn(batch, firstOf(before));
  for (const ring of rings) makeRing(batch, asPid(agent.pid), ring, eventfd.result);
  stayOn(batch, before);
  batch.call('close what was read', SYS.close, eventfd.result);
  batch.run();
}

/** Each processor sets room of a context aside for itself, which requests that are handed in on another do not find. */
function stayOn(batch: CallBatch, cpus: Buffer): void {
  if (!batch.hasRoomFor(1, CPU_SET_SIZE)) batch.run();
  batch.call('choose a processor', SYS.sched_setaffinity, 0, CPU_SET_SIZE, batch.bytes(cpus).address);
}

function firstOf(cpus: Buffer): Buffer {
  const first = Buffer.alloc(cpus.length);
  const at = cpus.findIndex((byte) => byte !== 0);
  const byte = cpus[at] ?? 0;
  first[at] = byte & -byte;
  return first;
}

function makeRing(batch: CallBatch, pid: Pid, { start, end, protection, ring }: PlannedRing, fd: number): void {
  const sizeBytes = end - start;
  const number = batch.data(POINTER_SIZE);
  const wish = aioWish(ring.wanted, sizeBytes, possibleCpus().length) ?? ring.wanted;
  batch.call('set asynchronous I/O up', SYS.io_setup, wish, number.address);
  batch.run();
  const made = number.bytes.readBigUInt64LE();
  const slots = readRemote(pid, remoteAddress(Number(made)), AIO_HEADER_SIZE).readUInt32LE(SLOTS_OFFSET);
  if (slots !== ring.slots) {
    throw new QuicksaveError('no-aio', `The kernel made a ring of ${slots} answers instead of ${ring.slots}.`);
  }
  const flags = MREMAP.MREMAP_MAYMOVE | MREMAP.MREMAP_FIXED;
  batch.call('move a ring', SYS.mremap, made, sizeBytes, sizeBytes, flags, start);
  const unread = ring.events.length / AIO_EVENT_SIZE;
  for (let head = 0; head < ring.head; ) {
    const count = Math.min(ring.head - head, wish);
    handIn(batch, start, fd, count);
    head += count;
    // All of them have been read.
    const place = Buffer.alloc(4);
    place.writeUInt32LE(head);
    writeRemote(pid, remoteAddress(start + HEAD_OFFSET), place);
  }
  if (unread > 0) handIn(batch, start, fd, unread);
  for (let index = 0; index < unread; index++) {
    const at = start + AIO_HEADER_SIZE + ((ring.head + index) % slots) * AIO_EVENT_SIZE;
    writeRemote(pid, remoteAddress(at), ring.events.subarray(index * AIO_EVENT_SIZE, (index + 1) * AIO_EVENT_SIZE));
  }
  if (protection !== (PROT.PROT_READ | PROT.PROT_WRITE)) {
    batch.call('protect a ring', SYS.mprotect, start, sizeBytes, protection);
  }
}

/** Brings so many answers into the ring. */
function handIn(batch: CallBatch, ring: number, fd: number, count: number): void {
  for (let left = count; left > 0; ) {
    const request = Buffer.alloc(IOCB_SIZE);
    request.writeUInt16LE(AIO.IOCB_CMD_PREAD, 16);
    request.writeUInt32LE(fd, 20);
    const { address } = batch.bytes(request);
    const pointers = Buffer.alloc(Math.min(left, AT_ONCE) * POINTER_SIZE);
    for (let at = 0; at < pointers.length; at += POINTER_SIZE) pointers.writeBigUInt64LE(BigInt(address), at);
    const { length } = pointers;
    const list = batch.bytes(pointers).address;
    const taken = batch.call('bring answers into a ring', SYS.io_submit, ring, length / POINTER_SIZE, list);
    batch.run();
    left -= taken.result;
  }
}
