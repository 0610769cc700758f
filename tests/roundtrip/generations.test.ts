/** A save of a restarted program is a save like the first: five generations, each image equal to the one before it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { decodeCbor } from '../../src/image/cbor.ts';
import { ImageReader, unpackChunk } from '../../src/image/reader.ts';
import { RECORD } from '../../src/image/record-types.ts';
import type { VdsoRecord } from '../../src/image/tree.ts';
import { bringBack, compiled, newFolder, said, saveAndEnd, start, stateOf, waitFor } from '../support/harness.ts';
import { type Piece, takeApart } from '../support/image-surgery.ts';

const GENERATIONS = 5;

/** At rest: threads that wait for each other, files, a pipe with bytes in it, a counter and interest lists, handlers, and no clock. */
const program = `
import os, select, signal, tempfile, threading
block = bytearray(os.urandom(4 << 20))
files = [open('kept', 'w+b'), tempfile.TemporaryFile(dir='.')]
for one in files: one.write(block[:70000]); one.flush()
reading, writing = os.pipe()
os.write(writing, b'on its way')
counter, interest, fired = os.eventfd(5, os.EFD_SEMAPHORE), select.epoll(), select.epoll()
for one in (reading, writing, counter, fired): interest.register(one, select.EPOLLIN | select.EPOLLET)
fired.register(reading, select.EPOLLIN | select.EPOLLONESHOT)
fired.poll(0)
signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
never = threading.Event()
started = threading.Barrier(4)
def wait():
    started.wait()
    never.wait()
threads = [threading.Thread(target=wait) for _ in range(3)]
for thread in threads: thread.start()
started.wait()
print('ready', flush=True)
signal.pause()
`;

const typeNames = new Map<number, string>(Object.entries(RECORD).map(([name, number]) => [number, name]));
const PAGE = 4096;
const binary = new Set<number>([RECORD.THREAD, RECORD.CPU, RECORD.MM_CONTEXT]);
const apart = new Set<number>([RECORD.HEAD, RECORD.PGARR, RECORD.TIMELINE]);

interface Neighbour {
  readonly start: number;
  readonly end: number;
  readonly kind: string;
}

/**
 * Equal neighbours without a file as one: the kernel joins them when they are made, but keeps two apart that were written to
 * before they became equal (mm/vma.c, is_mergeable_anon_vma).
 */
function joined(mappings: readonly Neighbour[]): Neighbour[] {
  const found: Neighbour[] = [];
  const properties = (mapping: Neighbour): string => JSON.stringify({ ...mapping, start: 0, end: 0, hasPages: 0 });
  for (const mapping of mappings) {
    const last = found.at(-1);
    const isSame = last?.end === mapping.start && mapping.kind === 'anonymous';
    if (last !== undefined && isSame && properties(last) === properties(mapping)) {
      found[found.length - 1] = { ...last, end: mapping.end };
    } else found.push(mapping);
  }
  return found;
}

/** One line per record. Objects that are made anew have a new identity, which is only compared with itself. */
function describe(pieces: readonly Piece[]): string[] {
  const identities = new Map<unknown, number>();
  const identity = (value: unknown): number => {
    if (!identities.has(value)) identities.set(value, identities.size);
    return identities.get(value) ?? -1;
  };
  const replace = (key: string, value: unknown): unknown => {
    if (key === 'pipe' || key === 'inode') return identity(value);
    if (key === 'clocks') return Object.keys(value as object);
    // The clocks of the vDSO go on.
    if (key === 'vdso')
      return { ...(value as VdsoRecord), data: (value as VdsoRecord).data.map(({ address }) => address) };
    if (key === 'mappings') return Array.isArray(value) ? joined(value as Neighbour[]) : undefined;
    // A page of zeros need not be there at all: memory is compared by its bytes.
    if (key === 'pages' || key === 'hasPages') return undefined;
    return typeof value === 'bigint' ? `${value}n` : value;
  };
  return pieces
    .filter(({ type }) => !apart.has(type))
    .map(({ type, objref, flags, payload }) => {
      const content = binary.has(type) ? payload.toString('hex') : JSON.stringify(decodeCbor(payload), replace);
      return `${typeNames.get(type)} ${objref} ${flags} ${content}`;
    });
}

/** All pages that are not zero, by object and address. */
function memoryOf(image: Buffer): Map<string, Buffer> {
  const memory = new Map<string, Buffer>();
  let position = 0;
  const read = (into: Uint8Array): number => {
    const length = image.copy(into, 0, position);
    position += length;
    return length;
  };
  const reader = new ImageReader({ read });
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    if (record.kind !== 'chunk') continue;
    const data = unpackChunk(record);
    let at = 0;
    for (const { start, pages, kind } of record.runs) {
      for (let page = 0; page < pages && kind === 'data'; page++, at += PAGE) {
        const bytes = Buffer.from(data.subarray(at, at + PAGE));
        if (bytes.some((byte) => byte !== 0))
          memory.set(`${record.objref} 0x${(start + page * PAGE).toString(16)}`, bytes);
      }
    }
  }
  return memory;
}

/** Addresses of the rseq areas: the kernel writes there on which CPU the thread runs (rseq(2)). */
function rseqAreas(pieces: readonly Piece[]): { start: number; end: number }[] {
  return pieces
    .filter(({ type }) => type === RECORD.THREAD_STATE)
    .map(
      ({ payload }) =>
        decodeCbor(payload) as { aspects: { threadPointers: { rseq: { address: bigint; sizeBytes: number } } } },
    )
    .map(({ aspects: { threadPointers } }) => Number(threadPointers.rseq.address))
    .map((start) => ({ start, end: start + 32 }));
}

function changedMemory(now: Buffer, before: Buffer): string[] {
  const areas = rseqAreas(takeApart(now));
  const pagesNow = memoryOf(now);
  const pagesBefore = memoryOf(before);
  expect(pagesNow.size).toBeGreaterThan(1000);
  const zeros = Buffer.alloc(PAGE);
  return [...new Set([...pagesNow.keys(), ...pagesBefore.keys()])].flatMap((key) => {
    const a = pagesNow.get(key) ?? zeros;
    const b = pagesBefore.get(key) ?? zeros;
    const start = Number(key.split(' ')[1]);
    const differs = (byte: number, index: number): boolean =>
      byte !== b[index] && !areas.some((area) => start + index >= area.start && start + index < area.end);
    const first = a.findIndex(differs);
    return first < 0 ? [] : [`${key} + 0x${first.toString(16)}`];
  });
}

const programs: readonly { what: string; command: () => string; args: readonly string[] }[] = [
  { what: 'a program', command: () => 'python3', args: ['-c', program] },
  { what: 'a program with an LDT', command: () => compiled('at-rest'), args: [] },
  { what: 'a 32-bit program', command: () => compiled('at-rest', ['-m32']), args: [] },
];

test.each(programs)(
  'five generations of $what at rest have equal images, but for what time has changed',
  async (one) => {
    const folder = newFolder();
    const target = start(folder, one.command(), one.args);
    await said(target.output, 'ready');
    await waitFor('it to rest', () => stateOf(target.pid) === 'S');
    let pid = target.pid;
    let before = Buffer.alloc(0);
    for (let generation = 0; generation < GENERATIONS; generation++) {
      const image = join(folder, `image.${generation}`);
      await saveAndEnd(pid, image);
      const now = readFileSync(image);
      if (generation > 0) {
        expect(describe(takeApart(now))).toEqual(describe(takeApart(before)));
        expect(changedMemory(now, before)).toEqual([]);
      }
      before = now;
      pid = await bringBack(image);
      await waitFor('it to rest', () => stateOf(pid) === 'S');
    }
    process.kill(pid, 'SIGUSR1');
  },
);
