/**
 * Registrations for membarrier(2): a process that has not registered is refused its expedited commands with EPERM. Read with
 * MEMBARRIER_CMD_GET_REGISTRATIONS (Linux 6.3). An older kernel does not tell; then all are made again, which a process
 * that never asks for a barrier cannot notice.
 */
import * as v from 'valibot';
import { u32 } from '../../image/schema.ts';
import { MEMBARRIER } from '../../kernel/abi/membarrier.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { ProcessAspect } from '../resource.ts';

const schema = v.strictObject({ registrations: u32 });

const commands = [
  MEMBARRIER.MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED,
  MEMBARRIER.MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
  MEMBARRIER.MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
  MEMBARRIER.MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ,
];
const ALL = commands.reduce((mask, command) => mask | command, 0);

export const membarrier: ProcessAspect<v.InferOutput<typeof schema>> = {
  name: 'membarrier',
  schema,
  stage: 'late',
  belongsTo: 'memory',
  collect: ({ batch }) => {
    const asked = batch.tryCall(
      'read the membarrier registrations',
      SYS.membarrier,
      MEMBARRIER.MEMBARRIER_CMD_GET_REGISTRATIONS,
    );
    return () => ({ registrations: asked.failed ? ALL : asked.result & ALL });
  },
  restore: (state, { batch }) => {
    for (const command of commands) {
      // What this kernel does not know cannot be asked of it either.
      if ((state.registrations & command) !== 0) batch.tryCall('register for membarrier', SYS.membarrier, command);
    }
  },
};
