/** A policy of memory placement: its mode with the mode flags, and its nodes, numa(7), get_mempolicy(2). */
import * as v from 'valibot';
import { byteString, u32 } from '../image/schema.ts';
import type { Problem } from '../support/errors.ts';
import type { HostView } from './resource.ts';

/** More nodes than any kernel is built for (CONFIG_NODES_SHIFT is at most 10). */
export const MAX_NODES = 1024;
export const DEFAULT_POLICY = 0;
/** linux/mempolicy.h: the nodes are counted among those that may be used. */
const MPOL_F_RELATIVE_NODES = 1 << 14;

export const policyFields = { mode: u32, nodes: byteString(MAX_NODES / 8) };

interface Policy {
  readonly mode: number;
  readonly nodes: Uint8Array;
}

/** Nodes that are not here are left out by the kernel; if none is left it answers EINVAL. */
export function nodeProblems({ mode, nodes }: Policy, host: HostView, path: readonly string[]): Problem[] {
  const here = host.status.memsAllowedList;
  const wanted = (node: number): boolean => (((nodes[node >> 3] ?? 0) >> (node & 7)) & 1) === 1;
  if (here === undefined || (mode & MPOL_F_RELATIVE_NODES) !== 0) return [];
  if (nodes.every((byte) => byte === 0) || here.some(wanted)) return [];
  return [
    {
      code: 'no-memory-node',
      path,
      message: 'None of the memory nodes that it was bound to may be used here.',
      remedy: 'Restart it on a host, or in a cpuset, with at least one of those nodes.',
    },
  ];
}

export const policyArray = <Fields extends v.ObjectEntries>(fields: Fields) =>
  v.pipe(v.array(v.strictObject(fields)), v.maxLength(1 << 24));
