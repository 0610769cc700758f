/**
 * zstd, one frame per page chunk, both ways synchronous. Node's own where it has one (22.15 and later); else a prebuilt library,
 * loaded when first needed.
 */
import { createRequire } from 'node:module';
import * as zlib from 'node:zlib';
import { badRecord } from './image-errors.ts';
import type { ZstdFrame } from './zstd-frame.ts';
import { inspectZstdFrame, withContentSize } from './zstd-frame.ts';

interface Codec {
  readonly compress: (data: Buffer, level: number) => Buffer;
  readonly decompress: (frame: Buffer, rawBytes: number) => Buffer;
}

/** The part of node:zlib that Node 20 does not have. */
interface ZlibWithZstd {
  readonly zstdCompressSync?: (data: Buffer, options: { params: Record<number, number> }) => Buffer;
  readonly zstdDecompressSync?: (data: Buffer, options: { maxOutputLength: number }) => Buffer;
}

interface ZstdPackage {
  readonly Encoder: new (level: number) => { encodeSync(data: Buffer): Buffer };
  readonly Decoder: new () => { decodeSync(data: Buffer): Buffer };
}

/** ZSTD_c_compressionLevel of zstd.h. */
const LEVEL_PARAMETER = 100;

/**
 * How much more than its content the blocks of a frame may be able to hold. Each block counts as full (128 KiB), yet encoders
 * make smaller ones; what is beyond this is no frame of ours, as `compressPages` refuses to make one.
 */
const MAX_OVERSHOOT = 128 * 1024 * 1024;

let loadedCodec: Codec | undefined;

/** One zstd frame, or undefined where the pages do not become smaller by it: then write them raw. */
export function compressPages(data: Uint8Array, level: number): Uint8Array | undefined {
  const frame = withContentSize(codec().compress(asBuffer(data), level), data.length);
  return isWorthKeeping(frame, data.length) ? frame : undefined;
}

/** Exactly `rawBytes` bytes, or an ImageError. `where` names the record in it. */
export function decompressPages(frame: Uint8Array, rawBytes: number, where = 'PGARR record'): Uint8Array {
  refuseOddFrame(frame, rawBytes, where);
  const data = tryDecompress(frame, rawBytes);
  if (data?.length !== rawBytes) throw undecompressable(where);
  return data;
}

/** Throws unless the headers of the frame say that it is one for `rawBytes` bytes. */
export function refuseOddFrame(frame: Uint8Array, rawBytes: number, where: string): void {
  const fault = findFault(inspectZstdFrame(frame), rawBytes);
  if (fault !== undefined) throw badRecord(where, `its compressed pages ${fault}`);
}

export const undecompressable = (where: string): Error =>
  badRecord(where, 'its compressed pages cannot be decompressed');

/** A writer keeps a frame only if every reader takes it, and it is smaller than its pages. */
export const isWorthKeeping = (frame: Uint8Array, rawBytes: number): boolean =>
  frame.length < rawBytes && findFault(inspectZstdFrame(frame), rawBytes) === undefined;

function findFault(frame: ZstdFrame | undefined, rawBytes: number): string | undefined {
  if (frame === undefined) return 'are not one whole zstd frame';
  if (frame.contentSize === undefined) return 'do not say how many bytes they are';
  if (frame.contentSize !== rawBytes) return `are ${frame.contentSize} bytes where ${rawBytes} belong`;
  return frame.possibleBytes > rawBytes + MAX_OVERSHOOT ? 'could become far larger than they say' : undefined;
}

function tryDecompress(frame: Uint8Array, rawBytes: number): Buffer | undefined {
  try {
    return codec().decompress(asBuffer(frame), rawBytes);
  } catch {
    return undefined;
  }
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function codec(): Codec {
  loadedCodec ??= builtInCodec(zlib as ZlibWithZstd) ?? packageCodec();
  return loadedCodec;
}

function builtInCodec({ zstdCompressSync, zstdDecompressSync }: ZlibWithZstd): Codec | undefined {
  if (zstdCompressSync === undefined || zstdDecompressSync === undefined) return undefined;
  return {
    compress: (data, level) => zstdCompressSync(data, { params: { [LEVEL_PARAMETER]: level } }),
    decompress: (frame, rawBytes) => zstdDecompressSync(frame, { maxOutputLength: rawBytes }),
  };
}

function packageCodec(): Codec {
  const { Encoder, Decoder } = createRequire(import.meta.url)('@toondepauw/node-zstd') as ZstdPackage;
  return {
    compress: (data, level) => new Encoder(level).encodeSync(data),
    decompress: (frame) => new Decoder().decodeSync(frame),
  };
}
