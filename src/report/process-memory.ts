/**
 * The memory of one process of an image, as far as its bytes can be had: its own pages, those of objects that the image carries, the
 * vDSO; and, where this host has the very file that was mapped, that.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import type { ImageModel } from '../image/model.ts';
import type { ProcessParts } from '../image/processes.ts';
import type { MappingState } from '../image/tree.ts';
import type { AddressedImage } from '../pages/addressed-image.ts';
import type { PageStore } from '../pages/page-store.ts';
import { readBuildId } from '../support/elf-build-id.ts';
import { tryStat } from '../support/try-stat.ts';
import { numberAt, textAt, toJson, wholeAt } from './json.ts';

const PAGE = 4096;

export interface MemoryPage {
  readonly address: number;
  /** Undefined: nobody here knows them. */
  readonly bytes: Uint8Array | undefined;
}

export class ProcessMemory {
  readonly process: ProcessParts;
  readonly #model: ImageModel;
  readonly #image: AddressedImage;
  readonly #pages: PageStore;
  readonly #files = new Map<number, string | undefined>();

  constructor(image: AddressedImage, process: ProcessParts) {
    this.#image = image;
    this.#model = image.model;
    this.process = process;
    this.#pages = image.pages(process.memoryObject);
  }

  mappingAt(address: number): MappingState | undefined {
    return this.process.mappings.find(({ start, end }) => start <= address && address < end);
  }

  /** Path of the file behind a mapping, if it is here and still the one that was mapped. */
  fileHere(mapping: MappingState): string | undefined {
    const object = numberAt(toJson(mapping.state), 'file');
    if (object === undefined) return undefined;
    if (!this.#files.has(object)) this.#files.set(object, sameFile(this.#model.mappedFiles.get(object)));
    return this.#files.get(object);
  }

  /** One page; undefined where its bytes are not known. `address` is a page's. */
  page(address: number): Uint8Array | undefined {
    const mapping = this.mappingAt(address);
    if (mapping === undefined) return undefined;
    if (this.#pages.has(address)) return this.#pages.page(address);
    const offset = mapping.offset + address - mapping.start;
    const state = toJson(mapping.state);
    const object = numberAt(state, 'object');
    if (object !== undefined) return this.#objectPage(object, offset);
    if (this.#image.cut !== undefined && mapping.hasPages) return undefined;
    if (numberAt(state, 'file') !== undefined) return this.#filePage(mapping, offset);
    if (mapping.kind === 'kernel') return this.#vdsoPage(state, address - mapping.start);
    // Memory that was never touched.
    return mapping.hasPages ? new Uint8Array(PAGE) : undefined;
  }

  #objectPage(object: number, offset: number): Uint8Array | undefined {
    const { contentBytes = 0 } = this.#model.descriptions.get(object) ?? {};
    if (offset >= contentBytes) return undefined;
    const pages = this.#image.pages(object);
    return this.#image.cut !== undefined && !pages.has(offset) ? undefined : pages.page(offset);
  }

  #filePage(mapping: MappingState, offset: number): Uint8Array | undefined {
    const path = this.fileHere(mapping);
    if (path === undefined) return undefined;
    const fd = openSync(path, 'r');
    try {
      const page = new Uint8Array(PAGE);
      return readSync(fd, page, 0, PAGE, offset) > 0 ? page : undefined;
    } finally {
      closeSync(fd);
    }
  }

  #vdsoPage(state: ReturnType<typeof toJson>, offset: number): Uint8Array | undefined {
    const { image } = this.process.task.vdso;
    if (image === undefined || textAt(state, 'name') !== '[vdso]' || offset >= image.length) return undefined;
    const page = new Uint8Array(PAGE);
    page.set(image.subarray(offset, offset + PAGE));
    return page;
  }

  /** Bytes, those that are not known left out: in pieces that do not reach over a page. */
  *read(start: number, length: number): Generator<MemoryPage> {
    for (let at = start; at < start + length; ) {
      const first = at - (at % PAGE);
      const end = Math.min(first + PAGE, start + length);
      yield { address: at, bytes: this.page(first)?.subarray(at - first, end - first) };
      at = end;
    }
  }

  /** Fewer where they are not all known. */
  bytes(start: number, length: number): Buffer {
    const parts: Uint8Array[] = [];
    for (const { bytes } of this.read(start, length)) {
      if (bytes === undefined) break;
      parts.push(Buffer.from(bytes));
    }
    return Buffer.concat(parts);
  }

  /** Every page whose bytes the image has, its own and those of mapped objects, ascending. */
  *pagesInImage(): Generator<{ readonly address: number; readonly bytes: Uint8Array }> {
    for (const mapping of this.process.mappings) {
      const object = numberAt(toJson(mapping.state), 'object');
      if (object === undefined) {
        for (const address of this.#pages.addressesIn(mapping.start, mapping.end, { zeroPages: false })) {
          yield { address, bytes: this.#pages.page(address) };
        }
        continue;
      }
      const { contentBytes = 0 } = this.#model.descriptions.get(object) ?? {};
      const end = Math.min(mapping.end, mapping.start + Math.max(0, contentBytes - mapping.offset));
      for (let address = mapping.start; address < end; address += PAGE) {
        const bytes = this.page(address);
        if (bytes !== undefined) yield { address, bytes };
      }
    }
  }
}

/** Its build id tells it where it has one, else size and time of modification. */
function sameFile(saved: unknown): string | undefined {
  const state = toJson(saved);
  const path = textAt(state, 'file', 'path');
  const stat = path === undefined ? undefined : statIfReadable(path);
  if (path === undefined || stat === undefined || !stat.isFile()) return undefined;
  const buildId = textAt(state, 'buildId');
  if (buildId !== undefined && buildId !== '') return readBuildId(path) === buildId ? path : undefined;
  const isSame =
    wholeAt(state, 'file', 'sizeBytes') === stat.size && wholeAt(state, 'file', 'modifiedNs') === stat.mtimeNs;
  return isSame ? path : undefined;
}

function statIfReadable(path: string): ReturnType<typeof tryStat> {
  try {
    return tryStat(path);
  } catch {
    return undefined;
  }
}
