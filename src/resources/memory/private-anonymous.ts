/**
 * Private memory without a file: heap, stacks, malloc arenas. Every page that was ever touched is saved, also behind
 * PROT_NONE. A name given with PR_SET_VMA is kept.
 */
import * as v from 'valibot';
import { boundedString } from '../../image/schema.ts';
import { MAP } from '../../kernel/abi/mman.ts';
import type { Mapping } from '../../procfs/smaps.ts';
import type { MappingKind } from '../resource.ts';

const schema = v.strictObject({ name: boundedString(256) });

const anonymousName = (mapping: Mapping): string => /^\[anon:(.*)\]$/s.exec(mapping.special ?? '')?.[1] ?? '';

export const privateAnonymous: MappingKind<v.InferOutput<typeof schema>> = {
  kind: 'anonymous',
  schema,
  recognise: ({ shared, path, special, vmFlags }) =>
    !shared &&
    !vmFlags.includes('dp') &&
    path === '' &&
    (special === undefined || /^\[(heap|stack|anon:.*)\]$/s.test(special)),
  pages: 'all-present',
  collect: (mapping) => ({ name: anonymousName(mapping) }),
  mapping: (state) => ({ flags: MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS, file: 0, name: state.name }),
};
