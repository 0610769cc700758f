/**
 * The system's libzstd, straight from native memory to native memory: several times faster than a package that allocates what it
 * returns (a chunk of half-compressible pages: 2.7 against 0.5 GB/s to compress, 14 against 0.3 GB/s to unpack). It is there wherever
 * dpkg, rpm or systemd are; where it is not, the caller has another way.
 */
import { tryLibrary } from './ffi.ts';

/** Addresses and sizes in bytes; the result is how many bytes were made, undefined if that did not work. */
export interface ZstdLibrary {
  readonly compress: (into: number, room: number, from: number, sizeBytes: number, level: number) => number | undefined;
  readonly decompress: (into: number, room: number, from: number, sizeBytes: number) => number | undefined;
}

let found: ZstdLibrary | undefined;
let isSought = false;

/** Undefined where it is not installed. */
export function zstdLibrary(): ZstdLibrary | undefined {
  if (!isSought) found = load();
  isSought = true;
  return found;
}

function load(): ZstdLibrary | undefined {
  const library = tryLibrary('libzstd.so.1', {
    ZSTD_createCCtx: 0,
    ZSTD_createDCtx: 0,
    ZSTD_compressCCtx: 6,
    ZSTD_decompressDCtx: 5,
  });
  if (library === undefined) return undefined;
  // Each thread has its own, because each loads this module.
  const compressing = library.ZSTD_createCCtx();
  const decompressing = library.ZSTD_createDCtx();
  return {
    compress: (into, room, from, sizeBytes, level) =>
      size(library.ZSTD_compressCCtx(compressing, into, room, from, sizeBytes, level)),
    decompress: (into, room, from, sizeBytes) =>
      size(library.ZSTD_decompressDCtx(decompressing, into, room, from, sizeBytes)),
  };
}

/** Errors are small negative numbers (zstd_errors.h), as size_t. */
const size = (result: number | bigint): number | undefined => (result < 0 ? undefined : Number(result));
