/** A folder for the files of one test, removed behind it; and identities of files as a save writes them. */
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { FileIdentity } from '../../../src/resources/file-identity.ts';

export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'quicksave-resources-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function newFile(content: string | Uint8Array = 'content'): string {
  const path = join(newFolder(), 'file');
  writeFileSync(path, content);
  return path;
}

export function replaceWithFolder(path: string): void {
  rmSync(path);
  mkdirSync(path);
}

export function identityOf(path: string): FileIdentity {
  const { dev, ino, size, mtimeNs } = statSync(path, { bigint: true });
  return { path, device: dev, inode: ino, sizeBytes: size, modifiedNs: mtimeNs };
}
