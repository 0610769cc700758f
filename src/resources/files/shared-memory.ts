/**
 * Shared memory without a file: mmap(2) with MAP_SHARED and MAP_ANONYMOUS. The kernel has a file for it, which the mappings show as
 * a deleted /dev/zero and no descriptor has. Read and made again through its link in map_files (proc_pid_map_files(5)).
 */
import * as v from 'valibot';
import { count, u64 } from '../../image/schema.ts';
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { openFile } from '../../kernel/calls/descriptors.ts';
import { NativeMemory } from '../../kernel/native-memory.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { isFirstOfFile } from '../first-of.ts';
import { mapLink } from '../mapped-file.ts';
import type { DescriptorKind, RestoredDescriptors } from '../resource.ts';

const schema = v.strictObject({
  /** Objects with the same number are one. */
  inode: u64,
  sizeBytes: v.pipe(count, v.minValue(1)),
  /** The first of them carries the bytes. */
  carries: v.boolean(),
});
type SharedMemory = v.InferOutput<typeof schema>;

export const sharedMemory: DescriptorKind<SharedMemory> = {
  kind: 'shared-memory',
  schema,
  recognise: ({ fd, descriptor, stat }) =>
    fd < 0 && descriptor.name === '/dev/zero' && descriptor.deleted && (stat.mode & STAT.S_IFMT) === STAT.S_IFREG,
  collect: (view) => ({
    inode: view.stat.inode,
    sizeBytes: Number(view.stat.sizeBytes),
    carries: isFirstOfFile(view),
  }),
  contentBytes: (state) => (state.carries ? state.sizeBytes : 0),
  restore: (state, world) => openFile(`/proc/self/fd/${memoryOf(state, world).number}`, OPEN.O_RDWR),
  contentTarget: memoryOf,
};

function memoryOf(state: SharedMemory, world: RestoredDescriptors): OwnedFd {
  return world.shared(`shared memory ${state.inode}`, () => ({ file: newSharedMemory(state.sizeBytes) })).file;
}

function newSharedMemory(sizeBytes: number): OwnedFd {
  const memory = NativeMemory.allocate(sizeBytes, { shared: true });
  try {
    const place = { start: memory.address, end: memory.address + memory.mappedBytes };
    return openFile(mapLink(process.pid, place), OPEN.O_RDWR);
  } finally {
    memory.free();
  }
}
