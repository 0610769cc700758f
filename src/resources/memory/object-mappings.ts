/**
 * Mappings of memory objects: files without a name, whose bytes the image carries. Shared memory of mmap(2) without a file, memfd,
 * deleted files. The object itself is a description of the image that no descriptor need have (files/shared-memory.ts,
 * files/memfd.ts, files/unlinked-file.ts). Private mappings carry the pages that the program has changed, as those of files with a
 * name do.
 */
import * as v from 'valibot';
import { objectReference } from '../../image/schema.ts';
import { MAP } from '../../kernel/abi/mman.ts';
import type { Mapping } from '../../procfs/smaps.ts';
import type { Problem } from '../../support/errors.ts';
import { mayFollowMappings, noMapFiles } from '../map-files.ts';
import { mapLink } from '../mapped-file.ts';
import { isObjectMapping } from '../memory-objects.ts';
import type { CollectedProcess, MappingKind, PagePolicy } from '../resource.ts';

const schema = v.strictObject({ object: objectReference });
type ObjectMapping = v.InferOutput<typeof schema>;

function objectMapping(kind: string, shared: boolean, flags: number, pages: PagePolicy): MappingKind<ObjectMapping> {
  return {
    kind,
    schema,
    recognise: (mapping) => mapping.shared === shared && isObjectMapping(mapping),
    obstacles: (mapping) => [...oddHugePages(mapping), ...outOfReach(mapping)],
    ...(shared ? { ownWords: [HUGE] } : {}),
    pages,
    collect: (mapping: Mapping, { speaker, files }: CollectedProcess) => ({
      object: files.object(mapLink(speaker, mapping), mapping.path, shared && mapping.vmFlags.includes('mw')),
    }),
    mapping: (state) => ({ flags, file: state.object, nameless: true, name: '' }),
  };
}

const HUGE = 'ht';

const outOfReach = ({ path }: Mapping): Problem[] =>
  mayFollowMappings() ? [] : [noMapFiles([], `It is memory without a name (${path})`, 'reach')];

/** Files of hugetlbfs that have lost their name are made again nowhere. */
function oddHugePages({ shared, path, vmFlags }: Mapping): Problem[] {
  if (!shared || !vmFlags.includes(HUGE) || /^\/(memfd:|anon_hugepage$)/.test(path)) return [];
  return [
    {
      code: 'mapping-flag',
      path: [],
      message: `It is memory of a file of huge pages without a name (${path}), which cannot be saved yet.`,
      remedy: 'Save it when the program has unmapped this memory.',
    },
  ];
}

export const sharedObject = objectMapping('shared-object', true, MAP.MAP_SHARED, 'none');
export const privateObject = objectMapping('private-object', false, MAP.MAP_PRIVATE, 'differing-from-file');
