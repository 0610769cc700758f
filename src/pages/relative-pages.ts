/**
 * The pages of another process of the tree that is being saved, by address, for the threads of the save: which pages of a process are the same.
 * They are compared byte by byte: that two processes have one page frame (proc_pid_pagemap(5)) is no proof, because the kernel moves pages
 * between the looks at the one and at the other.
 *
 * Nothing of it changes while it is compared: it is a snapshot, a copy, or stands still. So whoever is equal now is equal to what is written.
 */
import type { LocalRange } from '../kernel/calls/file-io.ts';
import { readAt } from '../kernel/calls/file-io.ts';
import { bytesAt } from '../kernel/native-memory.ts';
import { type LocalAddress, localAddress, localFd } from '../support/brand.ts';
import { ParentPages } from './parent-pages.ts';

const PAGE = 4096;
/** start, end, descriptor, address. */
const FIELDS = 4;

/** Consecutive pages, and where they can be read. */
export interface ReadablePages {
  readonly start: number;
  readonly pages: number;
  readonly from:
    | { readonly kind: 'copy'; readonly address: number }
    /** A descriptor of /proc/PID/mem. */
    | { readonly kind: 'memory'; readonly fd: number }
    | { readonly kind: 'parent-image' };
}

/** One relative of a process. */
export interface Relative {
  readonly pages: SharedArrayBuffer;
  /** What the parent image has of its memory: see parent-pages.ts. */
  readonly parent: SharedArrayBuffer | undefined;
}

export function encodeRelative(pages: readonly ReadablePages[]): SharedArrayBuffer {
  const ascending = [...pages].sort((a, b) => a.start - b.start);
  const buffer = new SharedArrayBuffer(ascending.length * FIELDS * 8);
  const table = new Float64Array(buffer);
  ascending.forEach(({ start, pages: count, from }, index) => {
    const fd = from.kind === 'memory' ? from.fd : -1;
    table.set([start, start + count * PAGE, fd, from.kind === 'copy' ? from.address : 0], index * FIELDS);
  });
  return buffer;
}

/** A page that is looked for: its address, and where its bytes are among ours. */
export interface SoughtPage {
  readonly start: number;
  readonly offset: number;
}

export class RelativePages {
  readonly #table: Float64Array;
  readonly #count: number;
  readonly #parent: ParentPages | undefined;
  /** Where the last page was found: the next is near it. */
  #index = 0;

  constructor({ pages, parent }: Relative) {
    this.#table = new Float64Array(pages);
    this.#count = this.#table.length / FIELDS;
    this.#parent = parent === undefined ? undefined : new ParentPages(parent);
  }

  /** Tells which of `sought` (ascending, their bytes in `bytes`) it has. `room` is at least as large as `bytes`. */
  match(sought: readonly SoughtPage[], bytes: Buffer, room: LocalRange, found: (page: SoughtPage) => void): void {
    let reading: Reading | undefined;
    const finish = (): void => {
      if (reading !== undefined) compareRead(reading, bytes, room.address, found);
      reading = undefined;
    };
    for (const page of sought) {
      if (!this.#find(page.start)) continue;
      const [start = 0, , fd = -1, address = 0] = this.#table.subarray(this.#index * FIELDS);
      if (fd >= 0) {
        const last = reading?.pages.at(-1);
        const isNext = reading?.fd === fd && last?.start === page.start - PAGE && last.offset === page.offset - PAGE;
        if (!isNext) finish();
        reading ??= { fd, pages: [] };
        reading.pages.push(page);
      } else if (address === 0) {
        if (this.#parent?.equals(page.start, bytes, page.offset) === true) found(page);
      } else if (isSame(bytes, page.offset, bytesAt(localAddress(address + page.start - start), PAGE), 0)) {
        found(page);
      }
    }
    finish();
  }

  /** Steps to the stretch that has the address. */
  #find(address: number): boolean {
    const at = (index: number, field: 0 | 1): number => this.#table[index * FIELDS + field] ?? Number.POSITIVE_INFINITY;
    const isHere = (index: number): boolean => at(index, 0) <= address && address < at(index, 1);
    if (isHere(this.#index)) return true;
    if (isHere(this.#index + 1)) {
      this.#index++;
      return true;
    }
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (at(middle, 1) <= address) low = middle + 1;
      else high = middle;
    }
    this.#index = low;
    return isHere(low);
  }
}

/** Consecutive pages, both there and among ours. */
interface Reading {
  readonly fd: number;
  readonly pages: SoughtPage[];
}

function compareRead(
  { fd, pages }: Reading,
  bytes: Buffer,
  room: LocalAddress,
  found: (page: SoughtPage) => void,
): void {
  const [first] = pages;
  if (first === undefined) return;
  readAt(localFd(fd), room, pages.length * PAGE, first.start, 'read the memory of a relative');
  const theirs = bytesAt(room, pages.length * PAGE);
  pages.forEach((page, index) => {
    if (isSame(bytes, page.offset, theirs, index * PAGE)) found(page);
  });
}

const isSame = (ours: Buffer, at: number, theirs: Buffer, from: number): boolean =>
  ours.compare(theirs, from, from + PAGE, at, at + PAGE) === 0;
