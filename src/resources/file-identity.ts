/**
 * Which file it was: path, size and time of the last change, for files that stay outside of the image. Used by every kind
 * that refers to a file by its name.
 */
import { closeSync, constants, openSync, readSync } from 'node:fs';
import * as v from 'valibot';
import { boundedString, i64, u64 } from '../image/schema.ts';
import { crc32c } from '../support/checksum.ts';
import type { Problem } from '../support/errors.ts';
import { refuseLack } from '../support/lacking.ts';
import { tryStat } from '../support/try-stat.ts';

export const fileIdentity = v.strictObject({
  path: boundedString(4096),
  device: u64,
  inode: u64,
  sizeBytes: u64,
  modifiedNs: i64,
});
export type FileIdentity = v.InferOutput<typeof fileIdentity>;

export type FileComparison = 'same' | 'missing' | 'not-regular' | 'appended' | 'changed';

/** How much of each end of a file {@link checksumOfEnds} reads. */
const END_BYTES = 4096;

/**
 * The CRC-32C of the first and the last 4096 of the first `sizeBytes` bytes (all of them where there are fewer): tells a file
 * that grew from one that was written anew and is longer now. Undefined if the file cannot be read, or is shorter.
 */
export function checksumOfEnds(path: string, sizeBytes: bigint): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    refuseLack(error, path);
    return undefined;
  }
  try {
    const length = Number(sizeBytes);
    const first = Buffer.alloc(Math.min(length, END_BYTES));
    const last = Buffer.alloc(Math.min(length - first.length, END_BYTES));
    if (readSync(fd, first, 0, first.length, 0) < first.length) return undefined;
    if (readSync(fd, last, 0, last.length, length - last.length) < last.length) return undefined;
    return crc32c(last, crc32c(first));
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}

/** How the file of that name looks now. `appended`: the same file, grown, with the same ends as far as they are known. */
export function compareFile(saved: FileIdentity, endsChecksum?: number): FileComparison {
  const now = tryStat(saved.path);
  if (now === undefined) return 'missing';
  if (!now.isFile()) return 'not-regular';
  if (now.size === saved.sizeBytes && now.mtimeNs === saved.modifiedNs) return 'same';
  const sameFile = now.ino === saved.inode && now.dev === saved.device;
  if (!sameFile || now.size <= saved.sizeBytes) return 'changed';
  const sameEnds = endsChecksum === undefined || checksumOfEnds(saved.path, saved.sizeBytes) === endsChecksum;
  return sameEnds ? 'appended' : 'changed';
}

/** The sentence for a comparison that stands in the way. */
export function fileProblem(saved: FileIdentity, found: FileComparison, path: readonly string[]): Problem {
  if (found === 'missing') {
    return {
      code: 'missing-file',
      path,
      message: `The file ${saved.path} does not exist here.`,
      remedy: 'Put the file back as it was when the image was made.',
    };
  }
  if (found === 'not-regular') {
    return {
      code: 'missing-file',
      path,
      message: `${saved.path} is not a regular file any more.`,
      remedy: 'Put the file back as it was when the image was made.',
    };
  }
  return {
    code: 'changed-file',
    path,
    message: `The file ${saved.path} has changed since the image was made (it had ${saved.sizeBytes} bytes, last changed ${timeOf(saved)}).`,
    remedy: 'Put the old file back, or restart with --files accept-changed if the change does no harm.',
  };
}

function timeOf(saved: FileIdentity): string {
  return new Date(Number(saved.modifiedNs / 1_000_000n)).toISOString();
}
