/**
 * Mappings that the kernel itself makes: vdso(7) and its data pages. Found by name, never by size or
 * order, which change between kernels. The restarted process has its own; they are moved to the old addresses. On another kernel
 * they stand elsewhere, and memory with the old code leads to them (restart/old-vdso.ts).
 */
import * as v from 'valibot';
import { boundedString } from '../../image/schema.ts';
import { isVdsoMapping } from '../../tracee/vdso-data.ts';
import type { MappingKind } from '../resource.ts';

const schema = v.strictObject({ name: boundedString(32) });

export const kernelMapping: MappingKind<v.InferOutput<typeof schema>> = {
  kind: 'kernel',
  schema,
  recognise: ({ special }) => isVdsoMapping(special),
  pages: 'none',
  collect: ({ special }) => ({ name: special ?? '' }),
  mapping: () => undefined,
};
