/**
 * A file that mappings or /proc/PID/exe refer to. The content stays outside; at the restart it must be the same file: by
 * its GNU build id where it is an ELF image that has one (an unchanged package reinstalled is the same program), by size
 * and time of change otherwise.
 */
import { type BigIntStats, statSync } from 'node:fs';
import * as v from 'valibot';
import { boundedString } from '../image/schema.ts';
import { OPEN } from '../kernel/abi/fcntl.ts';
import { openFile } from '../kernel/calls/descriptors.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import { readBuildId } from '../support/elf-build-id.ts';
import type { Problem } from '../support/errors.ts';
import { QuicksaveError } from '../support/errors.ts';
import { tryStat } from '../support/try-stat.ts';
import { compareFile, fileIdentity, fileProblem } from './file-identity.ts';
import { openingProblems } from './may-open.ts';
import type { HostView, ShownFile } from './resource.ts';

export const mappedFileSchema = v.strictObject({
  file: fileIdentity,
  /** Hexadecimal; empty where there is none. */
  buildId: boundedString(128),
  /** Opened for writing too: a shared mapping of it may be written. */
  writable: v.boolean(),
});
export type MappedFile = v.InferOutput<typeof mappedFileSchema>;

/** The kernel's link to the file behind a mapping: proc_pid_map_files(5), for CAP_CHECKPOINT_RESTORE since Linux 5.9. */
export const mapLink = (pid: number, { start, end }: { readonly start: number; readonly end: number }): string =>
  `/proc/${pid}/map_files/${start.toString(16)}-${end.toString(16)}`;

/** `link` is what the kernel holds open (in /proc); `path` is its name. Both must be one file. */
export function collectMappedFile(link: string, path: string, writable: boolean, shown?: ShownFile): MappedFile {
  const named = tryStat(path);
  const held = statHeld(link) ?? asShown(path, named, shown);
  if (named === undefined || named.ino !== held.ino || named.dev !== held.dev) {
    throw new QuicksaveError('replaced-file', `The file ${path} has been replaced since the program opened it.`, {
      remedy: 'Put the old file back under its name, or restart the program so that it uses the new one.',
    });
  }
  return {
    file: { path, device: held.dev, inode: held.ino, sizeBytes: held.size, modifiedNs: held.mtimeNs },
    buildId: knownBuildId(path, held),
    writable,
  };
}

/** Undefined if we may not follow the link: those in map_files are for CAP_CHECKPOINT_RESTORE (kernel 5.9). */
function statHeld(link: string): BigIntStats | undefined {
  try {
    return statSync(link, { bigint: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EPERM') return undefined;
    throw error;
  }
}

/** What maps shows is proof enough where it fits; where it does not, it may still be the same file. */
function asShown(path: string, named: BigIntStats | undefined, shown: ShownFile | undefined): BigIntStats {
  const fits = named !== undefined && shown !== undefined && named.ino === BigInt(shown.inode);
  if (fits && named.dev === deviceNumber(shown.device)) return named;
  throw new QuicksaveError('not-enough-rights', `You may not ask whether the file ${path} is still the mapped one.`, {
    remedy: 'Run quicksave as root, or give it CAP_CHECKPOINT_RESTORE.',
  });
}

/** As stat(2) tells it: makedev(3). */
function deviceNumber({ major, minor }: ShownFile['device']): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (low & 0xffn) | ((high & 0xfffn) << 8n) | ((low & ~0xffn) << 12n) | ((high & ~0xfffn) << 32n);
}

/** Build ids by file, so that one that was read before the target stood still is not read again. */
const buildIds = new Map<string, string>();

function knownBuildId(path: string, { dev, ino, size, mtimeNs }: BigIntStats): string {
  const key = `${dev}:${ino}:${size}:${mtimeNs}`;
  const known = buildIds.get(key) ?? readBuildId(path) ?? '';
  buildIds.set(key, known);
  return known;
}

/** Reads ahead what {@link collectMappedFile} will need of this file. */
export function lookAhead(path: string): void {
  const named = tryStat(path);
  if (named?.isFile()) knownBuildId(path, named);
}

export function planMappedFile(saved: MappedFile, host: HostView): Problem[] {
  const path = ['mapped file', saved.file.path];
  const refused = openingProblems(saved.file.path, openingFlags(saved), path);
  if (refused.length > 0) return refused;
  const found = compareFile(saved.file);
  if (found === 'same') return [];
  if (found === 'missing' || found === 'not-regular') return [fileProblem(saved.file, found, path)];
  if (saved.buildId !== '' && readBuildId(saved.file.path) === saved.buildId) return [];
  if (!host.acceptChangedFiles) return [fileProblem(saved.file, 'changed', path)];
  return hasShrunk(saved.file) ? [shrunkFile(saved.file, path)] : [];
}

const hasShrunk = ({ path, sizeBytes }: MappedFile['file']): boolean => (tryStat(path)?.size ?? 0n) < sizeBytes;

/** Pages behind the end of a file cannot be touched (mmap(2), SIGBUS), not even to put saved bytes into them. */
const shrunkFile = ({ path: name, sizeBytes }: MappedFile['file'], path: readonly string[]): Problem => ({
  code: 'changed-file',
  path,
  message: `The mapped file ${name} has become shorter than the ${sizeBytes} bytes that it had: the program would be ended by SIGBUS.`,
  remedy: 'Put the old file back.',
});

const openingFlags = ({ writable }: MappedFile): number => (writable ? OPEN.O_RDWR : OPEN.O_RDONLY);

export const openMappedFile = (saved: MappedFile): OwnedFd => openFile(saved.file.path, openingFlags(saved));
