/**
 * Mappings that the kernel itself makes: vdso(7) and its data pages. Found by name, never by size or
 * order, which change between kernels. The restarted process has its own; they are moved to the old addresses.
 */
import * as v from 'valibot';
import { boundedString } from '../../image/schema.ts';
import type { MappingKind } from '../resource.ts';

const schema = v.strictObject({ name: boundedString(32) });

const movable: ReadonlySet<string> = new Set(['[vdso]', '[vvar]', '[vvar_vclock]']);

export const kernelMapping: MappingKind<v.InferOutput<typeof schema>> = {
  kind: 'kernel',
  schema,
  recognise: ({ special }) => special !== undefined && movable.has(special),
  pages: 'none',
  collect: ({ special }) => ({ name: special ?? '' }),
  mapping: () => undefined,
};
