/**
 * CRC-32C (Castagnoli), the checksum of every record. Made beside the copying, so it must be as fast as memory.
 */
import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/** The checksum of `bytes`, or of what `initial` was the checksum of followed by `bytes`. */
export const crc32c = (bytes: Uint8Array, initial = 0): number => nativeCrc32c(bytes, initial);

/** The checksum of all parts as if they were one. */
export const crc32cOfParts = (parts: readonly Uint8Array[], initial = 0): number =>
  parts.reduce((crc, part) => crc32c(part, crc), initial);
