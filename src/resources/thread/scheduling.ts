/**
 * Policy, priority, nice value, CPU affinity, I/O priority and timer slack: sched(7), ioprio_get(2), PR_GET_TIMERSLACK of prctl(2).
 * The affinity is narrowed to the CPUs that this host has; if none is left, the restart is refused.
 */

import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { byteString, integerBetween, u32, u64 } from '../../image/schema.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import {
  getAffinity,
  getIoPriority,
  getNice,
  getScheduling,
  setAffinity,
  setIoPriority,
  setNice,
  setScheduling,
} from '../../kernel/calls/task-attributes.ts';
import { asTid, type Tid } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import type { HostView, ThreadAspect } from '../resource.ts';

const schema = v.strictObject({
  policy: u32,
  flags: u64,
  nice: integerBetween(-20, 19),
  priority: integerBetween(0, 99),
  runtime: u64,
  deadline: u64,
  period: u64,
  /** Utilisation clamps, 0 to 1024; both 0 on a kernel without them. */
  utilMin: integerBetween(0, 1024),
  utilMax: integerBetween(0, 1024),
  affinity: v.pipe(byteString(1024), v.minLength(1)),
  ioPriority: u32,
  timerSlack: u64,
});
type Scheduling = v.InferOutput<typeof schema>;

export const scheduling: ThreadAspect<Scheduling> = {
  name: 'scheduling',
  schema,
  collect: ({ tid, batch }) => {
    const state = seenFromOutside(tid);
    // Asked inside: /proc/TID/timerslack_ns is for CAP_SYS_NICE only, even to read (kernel 4.6).
    const timerSlack = batch.call('read the timer slack', SYS.prctl, PR.PR_GET_TIMERSLACK);
    return () => ({ ...state, timerSlack: BigInt(timerSlack.result) });
  },
  ofCommand: ({ ownPid }) => ({
    ...seenFromOutside(asTid(ownPid)),
    timerSlack: BigInt(readFileSync('/proc/self/timerslack_ns', 'ascii').trim()),
  }),
  plan: (state, host, tid) => (usableCpus(state, host).some((byte) => byte !== 0) ? [] : [noCpuLeft(tid)]),
  restore: (state, { tid, batch }) => {
    setScheduling(tid, state);
    // sched_setattr(2) sets it for the normal policies only; the others keep one too.
    setNice(tid, state.nice);
    setAffinity(tid, state.affinity);
    setIoPriority(tid, state.ioPriority);
    batch.call('set the timer slack', SYS.prctl, PR.PR_SET_TIMERSLACK, state.timerSlack);
  },
};

function seenFromOutside(tid: Tid): Omit<Scheduling, 'timerSlack'> {
  const { policy, flags, priority, runtime, deadline, period, utilMin, utilMax } = getScheduling(tid);
  const nice = getNice(tid);
  const affinity = getAffinity(tid);
  const ioPriority = getIoPriority(tid);
  return { policy, flags, nice, priority, runtime, deadline, period, utilMin, utilMax, affinity, ioPriority };
}

function usableCpus(state: Scheduling, host: HostView): number[] {
  return [...state.affinity].map(
    (byte, index) => byte & Number((host.status.cpusAllowed >> BigInt(index * 8)) & 0xffn),
  );
}

function noCpuLeft(tid: number): Problem {
  return {
    code: 'no-cpu-left',
    path: [`thread ${tid}`, 'affinity'],
    message: 'None of the CPUs that it was bound to may be used here.',
    remedy: 'Restart it on a host, or in a cpuset, with at least one of those CPUs.',
  };
}
