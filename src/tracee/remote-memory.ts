/** Reading and writing a target's memory in small pieces. Page data goes through the copy workers instead. */
import { readMemory, writeMemory } from '../kernel/calls/process-memory.ts';
import { NativeMemory } from '../kernel/native-memory.ts';
import type { Pid, RemoteAddress } from '../support/brand.ts';

const PIECE = 64 * 1024;
let piece: NativeMemory | undefined;

/** A copy of `sizeBytes` bytes at `address`. */
export function readRemote(pid: Pid, address: RemoteAddress, sizeBytes: number): Buffer {
  piece ??= NativeMemory.allocate(PIECE);
  const copy = Buffer.alloc(sizeBytes);
  for (let done = 0; done < sizeBytes; done += PIECE) {
    const length = Math.min(PIECE, sizeBytes - done);
    readMemory(pid, piece.address, [{ start: (address + done) as RemoteAddress, sizeBytes: length }]);
    copy.set(piece.bytes.subarray(0, length), done);
  }
  return copy;
}

export function writeRemote(pid: Pid, address: RemoteAddress, bytes: Uint8Array): void {
  piece ??= NativeMemory.allocate(PIECE);
  for (let done = 0; done < bytes.length; done += PIECE) {
    const part = bytes.subarray(done, done + PIECE);
    piece.bytes.set(part);
    writeMemory(pid, piece.address, [{ start: (address + done) as RemoteAddress, sizeBytes: part.length }]);
  }
}
