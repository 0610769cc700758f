/**
 * Mappings that the kernel itself makes: vdso(7), its data pages and the vsyscall page. Found by name, never by size or
 * order, which change between kernels. The restarted process has its own; they are moved to the old addresses.
 */
import * as v from 'valibot';
import { boundedString } from '../../image/schema.ts';
import type { MappingKind } from '../resource.ts';

const schema = v.strictObject({ name: boundedString(32) });

const movable: ReadonlySet<string> = new Set(['[vdso]', '[vvar]', '[vvar_vclock]']);
/** At a fixed address in every process, in no mapping that could be moved. */
export const VSYSCALL = '[vsyscall]';

export const isMovable = (name: string | undefined): boolean => name !== undefined && movable.has(name);

export const kernelMapping: MappingKind<v.InferOutput<typeof schema>> = {
  kind: 'kernel',
  schema,
  recognise: ({ special }) => isMovable(special) || special === VSYSCALL,
  pages: 'none',
  collect: ({ special }) => ({ name: special ?? '' }),
  mapping: () => undefined,
};
