/**
 * NUMA policies of single mappings: mbind(2). Each private mapping is asked with get_mempolicy(2) MPOL_F_ADDR, 0.25 us a
 * mapping; /proc/PID/numa_maps would walk all page tables. A mapping has one policy, because others are never merged with
 * it. Shared memory of tmpfs keeps its policies in the file, which stays outside. Lost: set_mempolicy_home_node(2), which
 * the kernel does not tell.
 */
import * as v from 'valibot';
import { pageAddress } from '../../image/schema.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { Mapping } from '../../procfs/smaps.ts';
import type { CallBatch } from '../../tracee/call-batch.ts';
import { DEFAULT_POLICY, MAX_NODES, nodeProblems, policyArray, policyFields } from '../memory-nodes.ts';
import type { ProcessAspect } from '../resource.ts';

/** linux/mempolicy.h */
const MPOL_F_ADDR = 2;
const MPOL_MF_MOVE = 2;

const policies = policyArray({ start: pageAddress, end: pageAddress, ...policyFields });
type Policies = v.InferOutput<typeof policies>;

/** Mappings of one block of answers: of each the mode, in 8 bytes, and the nodes. */
const AT_ONCE = 256;
const ANSWER_SIZE = 8 + MAX_NODES / 8;

export const mappingPolicies: ProcessAspect<Policies> = {
  name: 'mappingPolicies',
  // Images from before do not have them.
  schema: v.optional(policies, []),
  stage: 'memory',
  belongsTo: 'memory',
  collect: ({ batch, mappings }) => {
    const found: (() => Policies)[] = [];
    const own = mappings.filter(({ shared }) => !shared);
    for (let first = 0; first < own.length; first += AT_ONCE) found.push(ask(batch, own.slice(first, first + AT_ONCE)));
    return () => found.flatMap((read) => read());
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

function ask(batch: CallBatch, mappings: readonly Mapping[]): () => Policies {
  if (!batch.hasRoomFor(mappings.length, mappings.length * ANSWER_SIZE)) batch.run();
  const answers = batch.data(mappings.length * ANSWER_SIZE);
  mappings.forEach(({ start }, index) => {
    const mode = answers.address + index * ANSWER_SIZE;
    // A kernel without NUMA has no policies, and leaves the zeros there.
    batch.tryCall('read a memory policy', SYS.get_mempolicy, mode, mode + 8, MAX_NODES, start, MPOL_F_ADDR);
  });
  return () =>
    mappings.flatMap(({ start, end }, index) => {
      const answer = answers.bytes.subarray(index * ANSWER_SIZE, (index + 1) * ANSWER_SIZE);
      const mode = answer.readUInt32LE(0);
      return mode === DEFAULT_POLICY ? [] : [{ start, end, mode, nodes: answer.subarray(8) }];
    });
}
