/**
 * The pages of chunks that were not checked when the image was read: each is checked in a copy, so that what is put into a program is what was
 * checked, whatever becomes of the file. The kernel makes the copy: a file that has become shorter is an error then, and no SIGBUS (mmap(2)).
 */
import { damagedImage } from '../image/image-errors.ts';
import { ERRNO } from '../kernel/abi/errno.ts';
import { readMemory } from '../kernel/calls/process-memory.ts';
import { checksumOf } from '../kernel/crc32c.ts';
import { KernelError } from '../kernel/errors.ts';
import { asPid, type LocalAddress, remoteAddress } from '../support/brand.ts';
import type { LoadChunk } from './load-job.ts';
import { ChunkRoom, unpackPages } from './page-codec.ts';

/** A program goes to and fro, and so do pages that an incremental image has and those of its parents. */
const KEPT_CHUNKS = 8;

interface Kept {
  readonly room: ChunkRoom;
  readonly address: LocalAddress;
}

export class LazyChunks {
  /** By the place of their data, the one that was used last at the end. */
  readonly #kept = new Map<number, Kept>();
  readonly #stored = new ChunkRoom();

  /** Where the pages of its data runs are, one behind the other, until seven other chunks have been asked for. Throws ImageError. */
  pagesOf(chunk: LoadChunk): LocalAddress {
    const known = this.#kept.get(chunk.dataAddress);
    this.#kept.delete(chunk.dataAddress);
    const kept = known ?? this.#read(chunk);
    this.#kept.set(chunk.dataAddress, kept);
    return kept.address;
  }

  #read(chunk: LoadChunk): Kept {
    const room = this.#freeRoom();
    const { address } = room.of(chunk.rawBytes);
    if (chunk.encoding === 'raw') copyChecked(chunk, address);
    else {
      const stored = this.#stored.of(chunk.storedBytes).address;
      copyChecked(chunk, stored);
      const { storedBytes: sizeBytes, rawBytes, offset } = chunk;
      unpackPages({ address: stored, sizeBytes }, address, rawBytes, `PGARR record at byte ${offset}`);
    }
    return { room, address };
  }

  #freeRoom(): ChunkRoom {
    const [oldest] = this.#kept;
    // UFFDIO_COPY into a 32-bit program takes no source that such a program could not have (fs/userfaultfd.c, validate_unaligned_range).
    if (this.#kept.size < KEPT_CHUNKS || oldest === undefined) return new ChunkRoom({ low: true });
    this.#kept.delete(oldest[0]);
    return oldest[1].room;
  }

  free(): void {
    for (const { room } of this.#kept.values()) room.free();
    this.#kept.clear();
    this.#stored.free();
  }
}

function copyChecked({ offset, dataAddress, storedBytes, headCrc, crc }: LoadChunk, into: LocalAddress): void {
  try {
    readMemory(asPid(process.pid), into, [{ start: remoteAddress(dataAddress), sizeBytes: storedBytes }]);
  } catch (error) {
    if (!(error instanceof KernelError) || error.errno !== ERRNO.EFAULT) throw error;
    throw damagedImage(`its file has become shorter, or cannot be read at the PGARR record at byte ${offset}`, offset);
  }
  if (checksumOf({ address: into, sizeBytes: storedBytes }, headCrc) !== crc) {
    throw damagedImage(`the checksum of the PGARR record at byte ${offset} is wrong`, offset);
  }
}
