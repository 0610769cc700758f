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
import { isAioRing, isObjectMapping } from '../memory-objects.ts';
import type { CollectedProcess, MappingKind, PagePolicy } from '../resource.ts';
import { isAttachment } from '../segment-names.ts';

const schema = v.strictObject({ file: objectReference });
type FileMapping = v.InferOutput<typeof schema>;

/** Without a name, and of another kind. */
const isOther = (mapping: Mapping): boolean => isObjectMapping(mapping) || isAttachment(mapping) || isAioRing(mapping);

function fileMapping(kind: string, shared: boolean, flags: number, pages: PagePolicy): MappingKind<FileMapping> {
  return {
    kind,
    schema,
    recognise: (mapping) => mapping.shared === shared && mapping.path.startsWith('/') && !isOther(mapping),
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

/** Without a name, but no memory object that can be made again. */
function otherMemory(mapping: Mapping): Problem[] {
  if (!mapping.deleted) return [];
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
