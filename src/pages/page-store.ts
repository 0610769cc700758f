/** Pages of a memory out of an image, by address. Chunks are unpacked as they are needed, and the last few are kept. */
import { readSync } from 'node:fs';
import { PAGE_SIZE } from '../image/page-chunk.ts';
import { type ChunkRecord, unpackChunk, verifyChunk } from '../image/reader.ts';

interface Place {
  readonly start: number;
  readonly pages: number;
  readonly chunk: ChunkRecord;
  /** Where its bytes are in the unpacked chunk; undefined for zeros. */
  readonly at: number | undefined;
  /** It is another memory's: see there. */
  readonly relative: PageStore | undefined;
  /** It is the parent image's: see there. */
  readonly parent: ParentStore | undefined;
}

/** Where the parent image has the page at this address. Throws QuicksaveError if it has none. */
export type ParentStore = (address: number) => PageStore;

const MAX_KEPT = 8;
const ZEROS = new Uint8Array(PAGE_SIZE);

export class PageStore {
  readonly #fd: number;
  readonly #places: readonly Place[];
  readonly #kept = new Map<ChunkRecord, Uint8Array>();

  /** `fd` is the image, which can be read by position; `relatives` are those that MM names; `parent`: of an incremental one. */
  constructor(
    fd: number,
    chunks: readonly ChunkRecord[],
    relatives: readonly PageStore[] = [],
    parent: ParentStore | undefined = undefined,
  ) {
    this.#fd = fd;
    this.#places = chunks.flatMap((chunk) => placesIn(chunk, relatives, parent)).sort((a, b) => a.start - b.start);
  }

  /** Of the pages that are in the image from `start` to `end`, ascending. */
  addressesIn(start: number, end: number, options: { zeroPages: boolean }): number[] {
    const found: number[] = [];
    for (let index = this.#firstBehind(start); index < this.#places.length; index++) {
      const place = this.#places[index];
      if (place === undefined || place.start >= end) break;
      const [first, last] = [Math.max(start, place.start), Math.min(end, place.start + place.pages * PAGE_SIZE)];
      if (place.relative !== undefined) {
        for (const address of place.relative.addressesIn(first, last, options)) found.push(address);
      } else if (place.parent !== undefined) {
        for (let address = first; address < last; address += PAGE_SIZE) {
          if (place.parent(address).hasData(address) || options.zeroPages) found.push(address);
        }
      } else if (place.at !== undefined || options.zeroPages) {
        for (let address = first; address < last; address += PAGE_SIZE) found.push(address);
      }
    }
    return found;
  }

  /** Zeros where the image has no page. Throws ImageError if its chunk is damaged. */
  page(address: number): Uint8Array {
    const place = this.#placeAt(address);
    const elsewhere = elsewhereOf(place, address);
    if (elsewhere !== undefined) return elsewhere.page(address);
    if (place?.at === undefined) return ZEROS;
    const from = place.at + address - place.start;
    return this.#unpacked(place.chunk).subarray(from, from + PAGE_SIZE);
  }

  /** The image says what is in this page. */
  has(address: number): boolean {
    return this.#placeAt(address) !== undefined;
  }

  /** The image has bytes of this page, which need not be zeros. */
  hasData(address: number): boolean {
    const place = this.#placeAt(address);
    return elsewhereOf(place, address)?.hasData(address) ?? place?.at !== undefined;
  }

  /** Zeros where the image has no page. */
  bytes(address: number, length: number): Buffer {
    const first = address - (address % PAGE_SIZE);
    const pages: Uint8Array[] = [];
    for (let at = first; at < address + length; at += PAGE_SIZE) pages.push(Buffer.from(this.page(at)));
    return Buffer.concat(pages).subarray(address - first, address - first + length);
  }

  #placeAt(address: number): Place | undefined {
    const place = this.#places[this.#firstBehind(address)];
    return place === undefined || place.start > address ? undefined : place;
  }

  /** The first place that ends behind the address. */
  #firstBehind(address: number): number {
    let [low, high] = [0, this.#places.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { start, pages } = this.#places[middle] as Place;
      if (start + pages * PAGE_SIZE <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #unpacked(chunk: ChunkRecord): Uint8Array {
    const known = this.#kept.get(chunk);
    if (known !== undefined) return known;
    const stored = new Uint8Array(chunk.storedBytes);
    for (let done = 0; done < stored.length; ) {
      const length = readSync(this.#fd, stored, done, stored.length - done, chunk.dataPosition + done);
      if (length === 0) break;
      done += length;
    }
    verifyChunk(chunk, stored);
    const pages = unpackChunk(chunk, stored);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(chunk, pages);
    return pages;
  }
}

const elsewhereOf = (place: Place | undefined, address: number): PageStore | undefined =>
  place?.relative ?? place?.parent?.(address);

function placesIn(chunk: ChunkRecord, relatives: readonly PageStore[], parent: ParentStore | undefined): Place[] {
  let at = 0;
  return chunk.runs.map(({ start, pages, kind, relative }) => {
    const place = { start, pages, chunk, at: undefined, relative: undefined, parent: undefined };
    if (kind === 'parent') return { ...place, parent };
    if (kind !== 'data') return { ...place, relative: relatives[relative ?? -1] };
    const own = { ...place, at };
    at += pages * PAGE_SIZE;
    return own;
  });
}
