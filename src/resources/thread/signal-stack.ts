/**
 * The alternate signal stack: sigaltstack(2). It can only be asked and set in the thread itself. A thread that is running
 * on it is not allowed to change it, but our calls come with a stack pointer of the agent's, so the kernel does not object.
 */
import * as v from 'valibot';
import { u32, u64 } from '../../image/schema.ts';
import { SS } from '../../kernel/abi/signal.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { ThreadAspect } from '../resource.ts';

const STACK_T_SIZE = 24;
const schema = v.strictObject({ address: u64, flags: u32, sizeBytes: u64 });
type SignalStack = v.InferOutput<typeof schema>;

export const signalStack: ThreadAspect<SignalStack> = {
  name: 'signalStack',
  schema,
  collect: ({ batch }) => {
    const data = batch.data(STACK_T_SIZE);
    batch.call('read the signal stack', SYS.sigaltstack, 0, data.address);
    return () => ({
      address: data.bytes.readBigUInt64LE(0),
      // SS_ONSTACK says where the stack pointer is just now; it is no setting.
      flags: (data.bytes.readUInt32LE(8) & ~SS.SS_ONSTACK) >>> 0,
      sizeBytes: data.bytes.readBigUInt64LE(16),
    });
  },
  restore: (state, { batch }) => {
    const bytes = Buffer.alloc(STACK_T_SIZE);
    bytes.writeBigUInt64LE(state.address, 0);
    bytes.writeUInt32LE(state.flags, 8);
    bytes.writeBigUInt64LE(state.sizeBytes, 16);
    batch.call('set the signal stack', SYS.sigaltstack, batch.bytes(bytes).address, 0);
  },
};
