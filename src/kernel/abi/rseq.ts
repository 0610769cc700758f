/** Restartable sequences: rseq(2), Linux 4.18. */
import { defineAbi } from './define-abi.ts';

export const RSEQ = {
  RSEQ_FLAG_UNREGISTER: 1,
  RSEQ_CPU_ID_UNINITIALIZED: -1,
  RSEQ_CPU_ID_REGISTRATION_FAILED: -2,
  RSEQ_CS_FLAG_NO_RESTART_ON_PREEMPT: 1,
  RSEQ_CS_FLAG_NO_RESTART_ON_SIGNAL: 2,
  RSEQ_CS_FLAG_NO_RESTART_ON_MIGRATE: 4,
} as const;

export const rseqAbi = defineAbi({
  headers: ['linux/rseq.h'],
  constants: { ...RSEQ },
  structs: {
    /** The registration that Linux 4.18 began with. Later kernels take a longer one; its size is in the auxiliary vector. */
    rseq: {
      cType: 'struct rseq',
      size: 32,
      fields: {
        cpu_id_start: [0, 'u32'],
        cpu_id: [4, 'u32'],
        rseq_cs: [8, 'addr'],
        flags: [16, 'u32'],
      },
    },
    rseq_cs: {
      size: 32,
      fields: {
        version: [0, 'u32'],
        flags: [4, 'u32'],
        start_ip: [8, 'addr'],
        post_commit_offset: [16, 'addr'],
        abort_ip: [24, 'addr'],
      },
    },
  },
});
