/**
 * Shared memory without a file: mmap(2) with MAP_SHARED and MAP_ANONYMOUS. The kernel has a file for it, which the mappings show as
 * a deleted /dev/zero, or /anon_hugepage if it has huge pages (MAP_HUGETLB), and no descriptor has. Read and made again through its link in map_files (proc_pid_map_files(5)).
 */
import * as v from 'valibot';
import { count, u64 } from '../../image/schema.ts';
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { openFile } from '../../kernel/calls/descriptors.ts';
import { NativeMemory } from '../../kernel/native-memory.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { isFirstOfFile } from '../first-of.ts';
import { hasWholePages, hugePageField, hugePageKiB, hugeSizeFlag, pagesOfPool } from '../huge-page-size.ts';
import { mayFollowMappings, noMapFiles } from '../map-files.ts';
import { mapLink } from '../mapped-file.ts';
import type { DescriptorKind, RestoredDescriptors } from '../resource.ts';

const schema = v.pipe(
  v.strictObject({
    /** Objects with the same number are one. */
    inode: u64,
    sizeBytes: v.pipe(count, v.minValue(1)),
    /** The first of them carries the bytes. */
    carries: v.boolean(),
    hugePageKiB,
  }),
  v.check((state) => hasWholePages(state), 'must have whole huge pages'),
);
type SharedMemory = v.InferOutput<typeof schema>;

export const sharedMemory: DescriptorKind<SharedMemory> = {
  kind: 'shared-memory',
  schema,
  recognise: ({ fd, descriptor, stat }) =>
    fd < 0 &&
    ['/dev/zero', '/anon_hugepage'].includes(descriptor.name) &&
    descriptor.deleted &&
    (stat.mode & STAT.S_IFMT) === STAT.S_IFREG,
  collect: (view) => ({
    inode: view.stat.inode,
    sizeBytes: Number(view.stat.sizeBytes),
    carries: isFirstOfFile(view),
    ...hugePageField(`/proc/self/fd/${view.own}`),
  }),
  contentBytes: (state) => (state.carries ? state.sizeBytes : 0),
  hugePages: ({ carries, hugePageKiB: size, sizeBytes }) => (carries ? pagesOfPool(size, sizeBytes) : undefined),
  plan: ({ sizeBytes }, _host, path) =>
    mayFollowMappings()
      ? []
      : [noMapFiles(path, `It is shared memory of ${sizeBytes} bytes without a file`, 'make again')],
  restore: (state, world) => openFile(`/proc/self/fd/${memoryOf(state, world).number}`, OPEN.O_RDWR),
  contentTarget: memoryOf,
};

function memoryOf(state: SharedMemory, world: RestoredDescriptors): OwnedFd {
  return world.shared(`shared memory ${state.inode}`, () => ({ file: newSharedMemory(state) })).file;
}

function newSharedMemory({ sizeBytes, hugePageKiB: size }: SharedMemory): OwnedFd {
  const memory = NativeMemory.allocate(sizeBytes, { shared: true, ...(size && { hugeSizeFlag: hugeSizeFlag(size) }) });
  try {
    const place = { start: memory.address, end: memory.address + memory.mappedBytes };
    return openFile(mapLink(process.pid, place), OPEN.O_RDWR);
  } finally {
    memory.free();
  }
}
