/** The NUMA policy of a thread: get_mempolicy(2), set_mempolicy(2). */
import * as v from 'valibot';
import { ERRNO } from '../../kernel/abi/errno.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { check } from '../../kernel/errors.ts';
import { DEFAULT_POLICY, MAX_NODES, nodeProblems, policyFields } from '../memory-nodes.ts';
import type { ThreadAspect } from '../resource.ts';

const schema = v.strictObject(policyFields);

export const memoryPolicy: ThreadAspect<v.InferOutput<typeof schema>> = {
  name: 'memoryPolicy',
  schema,
  collect: ({ tid, batch }) => {
    const mode = batch.data(8);
    const nodes = batch.data(MAX_NODES / 8);
    const asked = batch.tryCall('read the memory policy', SYS.get_mempolicy, mode.address, nodes.address, MAX_NODES);
    return () => {
      // A kernel without NUMA has no policies.
      if (asked.result === -ERRNO.ENOSYS) return { mode: DEFAULT_POLICY, nodes: Buffer.alloc(0) };
      check('get_mempolicy', asked.result, { doing: 'read the memory policy', pid: tid });
      const policy = mode.bytes.readUInt32LE(0);
      return { mode: policy, nodes: policy === DEFAULT_POLICY ? Buffer.alloc(0) : Buffer.from(nodes.bytes) };
    };
  },
  plan: (state, host, tid) => nodeProblems(state, host, [`thread ${tid}`, 'memory policy']),
  restore: (state, { batch }) => {
    // The default is set too, where there are policies at all: this command may have been given another.
    if (state.mode === DEFAULT_POLICY) {
      batch.tryCall('reset the memory policy', SYS.set_mempolicy, DEFAULT_POLICY, 0, 0);
      return;
    }
    const nodes = batch.bytes(state.nodes);
    batch.call('set the memory policy', SYS.set_mempolicy, state.mode, nodes.address, state.nodes.length * 8);
  },
};
