/**
 * Which memory stands in a core file. As in the kernel's own: memory without a file whole, pages of it that were never touched as
 * zeros; of a private mapping of a file the pages that the program has changed. What is as in the file is not in it: a
 * debugger reads it there (NT_FILE).
 */
import type { ImageModel } from '../image/model.ts';
import type { ProcessParts } from '../image/processes.ts';
import type { MappingState } from '../image/tree.ts';
import type { PageStore } from '../pages/page-store.ts';
import { type FileRange, fieldOf } from './core-notes.ts';

export interface Segment {
  readonly start: number;
  readonly end: number;
  /** PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4. */
  readonly protection: number;
  /** Undefined: no byte of it is in the core. */
  readonly content: Content | undefined;
}

/** A page that has bytes; undefined for one of zeros. */
type Content = (address: number) => Uint8Array | undefined;

const PAGE = 4096;

export interface CoreMemory {
  readonly segments: readonly Segment[];
  readonly files: readonly FileRange[];
}

export function coreMemory(
  process: ProcessParts,
  model: ImageModel,
  pages: PageStore,
  contentOf: (object: number) => PageStore,
): CoreMemory {
  const files: FileRange[] = [];
  const segments = process.mappings.flatMap((mapping): Segment[] => {
    const { start, end, protection, state } = mapping;
    const object = fieldOf(state, 'object');
    const file = fieldOf(state, 'file');
    if (typeof object === 'number') {
      const { contentBytes = 0 } = model.descriptions.get(object) ?? {};
      return ofObject(mapping, pages, contentOf(object), contentBytes);
    }
    if (typeof file === 'number') {
      const path = fieldOf(fieldOf(model.mappedFiles.get(file), 'file'), 'path');
      if (typeof path === 'string') files.push({ start, end, offset: mapping.offset, path });
      return ofFile(mapping, pages);
    }
    const { image } = process.task.vdso;
    const isVdso = mapping.kind === 'kernel' && fieldOf(state, 'name') === '[vdso]';
    if (isVdso && image !== undefined) return [{ start, end, protection, content: pagesOfBytes(image, start) }];
    const isThere = pages.addressesIn(start, end, { zeroPages: true }).length > 0;
    return [{ start, end, protection, content: isThere ? pagesOf(pages) : undefined }];
  });
  return { segments, files };
}

const pagesOf =
  (pages: PageStore): Content =>
  (address) =>
    pages.hasData(address) ? pages.page(address) : undefined;

function pagesOfBytes(bytes: Uint8Array, base: number): Content {
  return (address) => {
    const page = new Uint8Array(PAGE);
    page.set(bytes.subarray(address - base, address - base + PAGE));
    return page;
  };
}

/** Changed pages in segments of their own between others without bytes: one segment has its bytes at its beginning. */
function ofFile({ start, end, protection }: MappingState, pages: PageStore): Segment[] {
  const found: { start: number; end: number; protection: number; content: Content | undefined }[] = [];
  const add = (from: number, to: number, content: Content | undefined): void => {
    if (from < to) found.push({ start: from, end: to, protection, content });
  };
  let done = start;
  for (const address of pages.addressesIn(start, end, { zeroPages: true })) {
    const last = found.at(-1);
    if (last?.content !== undefined && last.end === address) last.end = address + PAGE;
    else {
      add(done, address, undefined);
      add(address, address + PAGE, pagesOf(pages));
    }
    done = address + PAGE;
  }
  add(done, end, undefined);
  return found;
}

/** Shared memory and files without a name: their bytes are in the image, below what the program has changed privately. */
function ofObject(mapping: MappingState, pages: PageStore, object: PageStore, contentBytes: number): Segment[] {
  const { start, end, protection, offset } = mapping;
  const length = Math.min(end - start, Math.max(0, Math.ceil(contentBytes / PAGE) * PAGE - offset));
  const content: Content = (address) => {
    if (pages.has(address)) return pages.page(address);
    const at = offset + address - start;
    return object.hasData(at) ? object.page(at) : undefined;
  };
  // Behind the end of the object there is nothing to be read (SIGBUS).
  const rest = { start: start + length, end, protection, content: undefined };
  return [
    ...(length === 0 ? [] : [{ start, end: start + length, protection, content }]),
    ...(rest.start < end ? [rest] : []),
  ];
}
