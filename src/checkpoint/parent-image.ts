/** The earlier image that an incremental one builds on: mapped and checked before the target stands still. */
import { dirname } from 'node:path';
import { imagesIn } from '../image/image-folder.ts';
import { openInput } from '../image/image-source.ts';
import { followAll, type Lineage, plainParent } from '../pages/lineage.ts';
import { checkedBy, type MappedImage, mapImage } from '../pages/mapped-image.ts';
import type { PageCrew } from '../pages/page-crew.ts';
import { byObject } from '../pages/page-pieces.ts';
import { encodeParentPages } from '../pages/parent-pages.ts';
import { storedPieces } from '../pages/stored-pages.ts';
import { QuicksaveError } from '../support/errors.ts';
import { tryStat } from '../support/try-stat.ts';
import type { Output } from './output.ts';
import type { CheckpointRequest } from './request.ts';

export interface ParentImage {
  readonly imageId: string;
  /** By pid: a process that it does not have is written whole. */
  readonly memories: ReadonlyMap<number, ParentMemory>;
  close(): void;
}

export interface ParentMemory {
  /** objref in the parent image. */
  readonly objref: number;
  /** Its pages, and those that it has from its own parents: see pages/parent-pages.ts. */
  readonly pages: SharedArrayBuffer;
}

export type ParentRequest = Pick<CheckpointRequest, 'pid' | 'output' | 'access' | 'protection'>;

/** Throws if it is no whole image of that process, or would be overwritten by the new one. */
export function openParentImage(path: string, request: ParentRequest, crew: PageCrew): ParentImage {
  const { pid, output, access, protection } = request;
  const opened = openInput(path, { waits: false, access });
  let image: MappedImage | undefined;
  let lineage: Lineage | undefined;
  const close = (): void => {
    lineage?.close();
    image?.close();
  };
  try {
    if (opened.sizeBytes === undefined) throw new QuicksaveError('not-a-file', `The parent image ${path} is no file.`);
    const isEncrypted = opened.encryption !== undefined;
    if (protection.recipients.length > 0 && !isEncrypted) throw plainParent(path);
    image = mapImage(opened, crew, checkedBy(crew));
    const { root, head, processes } = image.model;
    const { task } = root;
    if (task.pid !== pid) {
      throw new QuicksaveError('wrong-parent', `${path} is an image of process ${task.pid}, not of ${pid}.`, {
        remedy: 'Give an earlier image of the same process.',
      });
    }
    lineage = followAll({ image, isEncrypted, find: imagesIn(dirname(path), access), crew });
    refuseToReplace([path, ...lineage.paths], output);
    const byMemory = byObject([...image.chunks, ...lineage.chunks]);
    const memories = new Map<number, ParentMemory>();
    for (const { task: one } of processes) {
      const pages = encodeParentPages(storedPieces(byMemory.get(one.memory) ?? []));
      memories.set(one.pid, { objref: one.memory, pages });
    }
    return { imageId: head.state.imageId, memories, close };
  } catch (error) {
    close();
    throw error;
  } finally {
    opened.close();
  }
}

function refuseToReplace(paths: readonly string[], { path: name }: Output): void {
  const there = name === undefined ? undefined : tryStat(name);
  if (there === undefined) return;
  for (const path of paths) {
    const stat = tryStat(path);
    if (stat?.ino !== there.ino || stat.dev !== there.dev) continue;
    throw new QuicksaveError('cannot-write', `The new image would replace ${path}, which it builds on.`, {
      remedy: 'Give it another name.',
    });
  }
}
