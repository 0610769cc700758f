/** A file that has lost the name that it was opened by, and has another one in the same folder (link(2)). */
import { lstatSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { refuseLack } from '../support/lacking.ts';
import type { DescriptorStat } from './resource.ts';

/** More names than this are not gone through. */
const MOST_NAMES = 10_000;

export function otherNameOf(path: string, { inode, device }: DescriptorStat): string | undefined {
  try {
    const folder = dirname(path);
    const names = readdirSync(folder);
    if (names.length > MOST_NAMES) return undefined;
    return names.map((name) => join(folder, name)).find((name) => isSame(name, inode, device));
  } catch (error) {
    refuseLack(error, `the folder of ${path}`);
    return undefined;
  }
}

function isSame(name: string, inode: bigint, device: number): boolean {
  const now = lstatSync(name, { bigint: true, throwIfNoEntry: false });
  return now?.ino === inode && Number(now.dev) === device;
}
