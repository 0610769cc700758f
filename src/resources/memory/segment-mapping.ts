/**
 * Mappings of System V shared memory segments: shmat(2). The segment itself is a description of the image (ipc/segment.ts). Attached again by
 * the process itself, so that the kernel counts it (nattch) and shmdt(2) works; parts of one attachment, which mprotect(2) and munmap(2)
 * make, come from one again.
 */
import * as v from 'valibot';
import { objectReference } from '../../image/schema.ts';
import { describeProcess } from '../../procfs/cmdline.ts';
import { listProcesses, unlessMissing, VANISHED } from '../../procfs/proc-file.ts';
import { readMaps } from '../../procfs/smaps.ts';
import { readSegments, type Segment } from '../../procfs/sysvipc.ts';
import type { Problem } from '../../support/errors.ts';
import { mayFollowMappings, noMapFiles } from '../map-files.ts';
import { mapLink } from '../mapped-file.ts';
import type { MappingKind, MappingOfTree } from '../resource.ts';
import { isAttachment } from '../segment-names.ts';

const schema = v.strictObject({ object: objectReference, readOnly: v.boolean() });

export const segmentMapping: MappingKind<v.InferOutput<typeof schema>> = {
  kind: 'system-v-segment',
  schema,
  recognise: isAttachment,
  obstacles: ({ path }) => (mayFollowMappings() ? [] : [noMapFiles([], `It is a System V segment (${path})`, 'reach')]),
  treeObstacles,
  pages: 'none',
  // SHM_HUGETLB
  ownWords: ['ht'],
  isCounted: true,
  collect: (mapping, { speaker, files }) => ({
    object: files.object(mapLink(speaker, mapping), mapping.path, false),
    readOnly: !mapping.vmFlags.includes('mw'),
  }),
  mapping: ({ object, readOnly }) => ({ flags: 0, file: object, nameless: true, attach: { readOnly }, name: '' }),
};

function treeObstacles(mappings: readonly MappingOfTree[], tree: ReadonlySet<number>): Problem[] {
  const segments = readSegments();
  const ids = new Set(mappings.map(({ mapping: { inode } }) => Number(inode)));
  return [...ids].flatMap((id) => {
    const ofSegment = mappings.filter(({ mapping: { inode } }) => Number(inode) === id);
    const found = segments.find((one) => one.id === id);
    const [first] = ofSegment;
    if (first === undefined || found?.attachments === ofSegment.length) return [];
    const path = [`pid ${first.pid}`, `mapping 0x${first.mapping.start.toString(16)}`];
    return [{ path, ...reason(first, ofSegment.length, found, tree) }];
  });
}

function reason(
  { mapping }: MappingOfTree,
  own: number,
  found: Segment | undefined,
  tree: ReadonlySet<number>,
): Omit<Problem, 'path'> {
  if (found === undefined || found.attachments < own) {
    return {
      code: 'odd-segment',
      message: `It has mapped ${mapping.path} without attaching it as a System V segment of this IPC namespace.`,
      remedy: 'Save it when the program has unmapped this memory.',
    };
  }
  const others = listProcesses().filter((pid) => !tree.has(pid) && hasAttached(pid, mapping));
  const names = others.length === 0 ? 'processes that cannot be seen' : others.map(describeProcess).join(', ');
  return {
    code: 'shared-with-another',
    message: `It shares the System V segment ${found.id} (${mapping.path}) with ${names}, outside of what is saved.`,
    remedy: 'Save it when the other process has ended or detached it.',
  };
}

const hasAttached = (pid: Parameters<typeof readMaps>[0], { path, inode }: MappingOfTree['mapping']): boolean =>
  (unlessMissing(() => readMaps(pid), [...VANISHED, 'not-permitted']) ?? []).some(
    (other) => other.path === path && other.inode === inode && other.deleted,
  );
