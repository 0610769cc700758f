/**
 * Droppable memory: mmap(2) with MAP_DROPPABLE (Linux 6.11), which the kernel may empty whenever it is short of memory; libc keeps the
 * state of its random numbers there. It comes back empty, which its program must be ready for, and which keeps two
 * processes of one image from the same random numbers.
 */
import * as v from 'valibot';
import { MAP } from '../../kernel/abi/mman.ts';
import type { MappingKind } from '../resource.ts';

const schema = v.strictObject({});

export const droppable: MappingKind<v.InferOutput<typeof schema>> = {
  kind: 'droppable',
  schema,
  recognise: ({ vmFlags }) => vmFlags.includes('dp'),
  pages: 'none',
  collect: () => ({}),
  mapping: () => ({ flags: MAP.MAP_DROPPABLE | MAP.MAP_ANONYMOUS, file: 0, name: '' }),
};
