/** Open file descriptions that only the kernel's structs tell of, known by descriptors of the tree that have the same. */
import { duplicate } from '../../kernel/calls/descriptors.ts';
import { KernelObjects, UnknownKernelObject } from '../../kernel/kernel-objects.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { LoneDescriptor } from '../resource.ts';
import { lookThrough } from './facts.ts';

/** Duplicates of ours of those of the `wanted` (where a struct file is) that any of `all` has. */
export function duplicatesOf(wanted: readonly bigint[], all: readonly LoneDescriptor[]): Map<bigint, OwnedFd> {
  const missing = new Set(wanted);
  const found = new Map<bigint, OwnedFd>();
  for (const other of all) {
    if (missing.size === 0) break;
    const one = lookThrough(other, (own) => duplicateIfWanted(own, missing));
    if (one === undefined) continue;
    found.set(one.address, one.own);
    missing.delete(one.address);
  }
  return found;
}

function duplicateIfWanted(
  own: LocalFd,
  missing: ReadonlySet<bigint>,
): { readonly address: bigint; readonly own: OwnedFd } | undefined {
  try {
    const address = KernelObjects.tryOpen()?.fileOf(own).address;
    return address === undefined || !missing.has(address) ? undefined : { address, own: duplicate(own) };
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}
