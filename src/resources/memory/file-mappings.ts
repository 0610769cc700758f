/**
 * Mappings of regular files that have a name. Private ones carry only the pages that the program has changed (those that
 * the kernel counts as anonymous); everything else comes from the file. Shared ones carry nothing: their pages are the file.
 */
import * as v from 'valibot';
import { objectReference } from '../../image/schema.ts';
import { MAP } from '../../kernel/abi/mman.ts';
import type { Mapping } from '../../procfs/smaps.ts';
import type { Problem } from '../../support/errors.ts';
import { mapLink } from '../mapped-file.ts';
import { isObjectMapping } from '../memory-objects.ts';
import type { CollectedProcess, MappingKind, PagePolicy } from '../resource.ts';
import { isAttachment } from '../segment-names.ts';

const schema = v.strictObject({ file: objectReference });
type FileMapping = v.InferOutput<typeof schema>;

function fileMapping(kind: string, shared: boolean, flags: number, pages: PagePolicy): MappingKind<FileMapping> {
  return {
    kind,
    schema,
    recognise: (mapping) =>
      mapping.shared === shared && mapping.path.startsWith('/') && !isObjectMapping(mapping) && !isAttachment(mapping),
    obstacles: (mapping) => [...otherMemory(mapping), ...device(mapping)],
    // The file has its pages: nothing of huge ones is in the image.
    ...(shared ? { ownWords: ['ht'] } : {}),
    pages,
    collect: (mapping: Mapping, { speaker, files }: CollectedProcess) => ({
      file: files.reference(mapLink(speaker, mapping), mapping.path, shared && mapping.vmFlags.includes('mw'), mapping),
    }),
    mapping: (state) => ({ flags, file: state.file, name: '' }),
  };
}

export const privateFile = fileMapping('private-file', false, MAP.MAP_PRIVATE, 'differing-from-file');
export const sharedFile = fileMapping('shared-file', true, MAP.MAP_SHARED, 'none');

/**
 * A ring of asynchronous I/O. It could be made again with the events in it, but which requests the kernel is still working on shows nowhere (fs/aio.c in the
 * kernel): their completion would be lost.
 */
const requestRing: Problem = {
  code: 'shared-memory',
  path: [],
  message: 'It is a ring of asynchronous I/O (io_setup): nobody can tell whether requests of it are still in flight.',
  remedy:
    'Have the program use no native asynchronous I/O (MySQL: innodb_use_native_aio=OFF), or save it when it has ended it (io_destroy).',
};

/** Without a name, but no memory object that can be made again. */
function otherMemory(mapping: Mapping): Problem[] {
  if (!mapping.deleted) return [];
  if (mapping.path === '/[aio]') return [requestRing];
  return [
    {
      code: 'shared-memory',
      path: [],
      message: `It is memory that cannot be made again yet (${mapping.path}).`,
      remedy: 'Save it when the program has unmapped this memory.',
    },
  ];
}

function device(mapping: Mapping): Problem[] {
  if (!mapping.path.startsWith('/dev/') || mapping.path.startsWith('/dev/shm/')) return [];
  return [
    {
      code: 'device-memory',
      path: [],
      message: `It is memory of the device ${mapping.path}.`,
      remedy: 'Have the program release the device first.',
    },
  ];
}
