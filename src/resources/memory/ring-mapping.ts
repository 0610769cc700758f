/** The memory of an io_uring, as the program maps it to speak to the kernel. It is carried with the ring itself (files/io-uring.ts). */
import * as v from 'valibot';
import { objectReference } from '../../image/schema.ts';
import { MAP } from '../../kernel/abi/mman.ts';
import type { MappingKind } from '../resource.ts';

const schema = v.strictObject({ ring: objectReference });
type RingMapping = v.InferOutput<typeof schema>;

const NAME = 'anon_inode:[io_uring]';

export const ringMapping: MappingKind<RingMapping> = {
  kind: 'io_uring',
  schema,
  recognise: (mapping) => mapping.shared && mapping.path === NAME,
  pages: 'none',
  // VM_DONTEXPAND and VM_MIXEDMAP, which io_uring_mmap() gives.
  ownWords: ['de', 'mm'],
  collect: ({ inode }, { files }) => ({ ring: files.described(BigInt(inode)) }),
  mapping: ({ ring }) => ({ flags: MAP.MAP_SHARED, file: ring, nameless: true, placedByKernel: true, name: '' }),
};
