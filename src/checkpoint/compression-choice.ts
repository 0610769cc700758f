/**
 * How pages are compressed when nobody has said it: so that the disk is what is waited for, and never so that a program stands
 * still for it. What the disk takes and what the pages come to is measured on the first of them.
 */
import { fdatasyncSync, fstatSync, statfsSync } from 'node:fs';
import type { Output } from './output.ts';

/** A zstd level; undefined: pages as they are; `auto`: see {@link chooseCompression}. */
export type Compression = number | undefined | 'auto';

/** The lowest level of zstd that its library names for ordinary use. */
export const ORDINARY_LEVEL = 1;
/** Levels that are tried, from the thorough to the fast. */
const CANDIDATES = [ORDINARY_LEVEL, -5] as const;
/** Pages that each is tried on. */
export const TRIAL_BYTES = 32 * 1024 * 1024;
/** A disk takes so little at once faster than it takes a gigabyte. */
const BURST = 1.5;
/** Below this a trial costs more than it can bring. */
const WORTH_A_TRIAL_BYTES = 8 * TRIAL_BYTES;

/** statfs(2), linux/magic.h */
const TMPFS_MAGIC = 0x01021994;
const RAMFS_MAGIC = 0x858458f6;

export interface Situation {
  readonly output: Output;
  /** The program stands still for it, and is to go on. */
  readonly isWaitedFor: boolean;
  readonly pageBytes: number;
}

/** `trial`: the crew is to find out, with {@link Trial}. */
export function chooseCompression(wanted: Compression, situation: Situation): number | undefined | 'trial' {
  if (wanted !== 'auto') return wanted;
  const { output, isWaitedFor, pageBytes } = situation;
  if (isWaitedFor || isInMemory(output.fd)) return undefined;
  if (!output.positioned || pageBytes < WORTH_A_TRIAL_BYTES) return ORDINARY_LEVEL;
  return 'trial';
}

/** A file in memory is written faster than any page can be compressed; so is what nobody reads. */
function isInMemory(fd: number): boolean {
  if (fstatSync(fd).isCharacterDevice()) return true;
  const { type } = statfsSync(`/proc/self/fd/${fd}`);
  return type === TMPFS_MAGIC || type === RAMFS_MAGIC;
}

export interface Measured {
  readonly ms: number;
  readonly rawBytes: number;
  readonly storedBytes: number;
}

/** Tries the candidates in turn, each on some chunks, which are in the image then like any others. */
export class Trial {
  readonly #tried: { level: number; measured: Measured; syncMs: number }[] = [];

  /** The next level to be tried; undefined when all have been. */
  get next(): number | undefined {
    return CANDIDATES[this.#tried.length];
  }

  note(level: number, measured: Measured, fd: number): void {
    const begun = performance.now();
    fdatasyncSync(fd);
    this.#tried.push({ level, measured, syncMs: performance.now() - begun });
  }

  /** The level by which a page takes least time, as it is or compressed, where copying and the disk go on side by side. */
  get best(): number | undefined {
    // There were not enough pages for one, as where relatives share most.
    if (this.#tried.length === 0) return ORDINARY_LEVEL;
    const stored = this.#tried.reduce((sum, { measured }) => sum + measured.storedBytes, 0);
    const diskMs = this.#tried.reduce((sum, { syncMs }) => sum + syncMs, 0) / Math.max(stored, 1);
    let best: number | undefined;
    let least = diskMs * BURST;
    for (const { level, measured } of this.#tried) {
      const { ms, rawBytes, storedBytes } = measured;
      const perByte = Math.max(ms, storedBytes * diskMs) / Math.max(rawBytes, 1);
      if (perByte < least) [best, least] = [level, perByte];
    }
    return best;
  }
}
