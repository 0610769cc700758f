/**
 * Mappings of regular files that have a name. Private ones carry only the pages that the program has changed (those that
 * the kernel counts as anonymous); everything else comes from the file. Shared ones carry nothing: their pages are the file.
 */
import * as v from 'valibot';
import { objectReference } from '../../image/schema.ts';
import { MAP } from '../../kernel/abi/mman.ts';
import type { Mapping } from '../../procfs/smaps.ts';
import type { Problem } from '../../support/errors.ts';
import type { CollectedProcess, MappingKind, PagePolicy } from '../resource.ts';

const schema = v.strictObject({ file: objectReference });
type FileMapping = v.InferOutput<typeof schema>;

function fileMapping(kind: string, shared: boolean, flags: number, pages: PagePolicy): MappingKind<FileMapping> {
  return {
    kind,
    schema,
    recognise: (mapping) => mapping.shared === shared && mapping.path.startsWith('/'),
    obstacles: (mapping) => [...deletedFile(mapping), ...device(mapping)],
    pages,
    collect: (mapping: Mapping, { pid, files }: CollectedProcess) => ({
      file: files.reference(mapLink(pid, mapping), mapping.path, shared && mapping.vmFlags.includes('mw'), mapping),
    }),
    mapping: (state) => ({ flags, file: state.file, name: '' }),
  };
}

export const privateFile = fileMapping('private-file', false, MAP.MAP_PRIVATE, 'differing-from-file');
export const sharedFile = fileMapping('shared-file', true, MAP.MAP_SHARED, 'none');

const mapLink = (pid: number, mapping: Mapping): string =>
  `/proc/${pid}/map_files/${mapping.start.toString(16)}-${mapping.end.toString(16)}`;

function deletedFile(mapping: Mapping): Problem[] {
  if (!mapping.deleted) return [];
  if (mapping.path === '/dev/zero' || mapping.path.startsWith('/memfd:') || mapping.path.startsWith('/SYSV')) {
    return [
      {
        code: 'shared-memory',
        path: [],
        message: `It is shared memory without a file (${mapping.path}), which cannot be saved yet.`,
        remedy: 'Save it when the program has unmapped this memory.',
      },
    ];
  }
  return [
    {
      code: 'deleted-mapped-file',
      path: [],
      message: `The mapped file ${mapping.path} has been deleted or replaced.`,
      remedy: 'Restart the program so that it uses the new file, or put the old one back.',
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
