/**
 * NUMA policies of single mappings: mbind(2). Each private mapping is asked with get_mempolicy(2) MPOL_F_ADDR, 0.25 us a
 * mapping; /proc/PID/numa_maps would walk all page tables. A mapping has one policy, because others are never merged with
 * it. Shared memory of tmpfs keeps its policies in the file, which stays outside. Lost: set_mempolicy_home_node(2), which
 * the kernel does not tell.
 */
import * as v from 'valibot';
import { pageAddress } from '../../image/schema.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { DEFAULT_POLICY, MAX_NODES, nodeProblems, policyArray, policyFields } from '../memory-nodes.ts';
import type { ProcessAspect } from '../resource.ts';

/** linux/mempolicy.h */
const MPOL_F_ADDR = 2;
const MPOL_MF_MOVE = 2;

const policies = policyArray({ start: pageAddress, end: pageAddress, ...policyFields });

export const mappingPolicies: ProcessAspect<v.InferOutput<typeof policies>> = {
  name: 'mappingPolicies',
  // Images from before do not have them.
  schema: v.optional(policies, []),
  stage: 'memory',
  collect: ({ batch, mappings }) => {
    const asked = mappings
      .filter(({ shared }) => !shared)
      .map(({ start, end }) => {
        if (!batch.hasRoomFor(1, 8 + MAX_NODES / 8)) batch.run();
        const mode = batch.data(8);
        const nodes = batch.data(MAX_NODES / 8);
        const call = [mode.address, nodes.address, MAX_NODES, start, MPOL_F_ADDR] as const;
        // A kernel without NUMA has no policies, and leaves the zeros there.
        batch.tryCall('read the memory policy of a mapping', SYS.get_mempolicy, ...call);
        return { start, end, mode, nodes };
      });
    return () =>
      asked
        .map(({ start, end, mode, nodes }) => ({ start, end, mode: mode.bytes.readUInt32LE(0), nodes: nodes.bytes }))
        .filter(({ mode }) => mode !== DEFAULT_POLICY);
  },
  plan: (state, host, pid) =>
    state.flatMap((one) => nodeProblems(one, host, [`pid ${pid}`, `mapping 0x${one.start.toString(16)}`])),
  restore: (state, { batch }) => {
    for (const { start, end, mode, nodes } of state) {
      if (!batch.hasRoomFor(1, nodes.length)) batch.run();
      const mask = batch.bytes(nodes).address;
      const where = `0x${start.toString(16)}`;
      // The pages are there already.
      batch.call(`place ${where}`, SYS.mbind, start, end - start, mode, mask, nodes.length * 8, MPOL_MF_MOVE);
    }
  },
};
