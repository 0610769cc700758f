/**
 * Resource limits: getrlimit(2). Asked and set from inside, because prlimit(2) on a task of another uid needs
 * CAP_SYS_RESOURCE. A hard limit above the caller's own cannot be given without that capability.
 */
import * as v from 'valibot';
import { u64 } from '../../image/schema.ts';
import { RLIMIT } from '../../kernel/abi/resource.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { getLimit } from '../../kernel/calls/task-attributes.ts';
import type { Pid } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import type { HostView, ProcessAspect } from '../resource.ts';

const limit = v.pipe(
  v.strictObject({ soft: u64, hard: u64 }),
  v.check(({ soft, hard }) => soft <= hard, 'a soft limit is not above the hard one'),
);
const schema = v.strictObject(
  Object.fromEntries(limitNames().map((name) => [name, limit])) as Record<LimitName, typeof limit>,
);
type Limits = v.InferOutput<typeof schema>;
type LimitName = ReturnType<typeof limitNames>[number];

/** linux/capability.h */
const CAP_SYS_RESOURCE = 24n;

function limitNames(): (keyof typeof RLIMIT)[] {
  return (Object.keys(RLIMIT) as (keyof typeof RLIMIT)[]).filter((name) => name.startsWith('RLIMIT_'));
}

export const limits: ProcessAspect<Limits> = {
  name: 'limits',
  schema,
  stage: 'late',
  collect: ({ batch }) => {
    const asked = limitNames().map((name) => {
      const data = batch.data(16);
      batch.call(`read ${name}`, SYS.prlimit64, 0, RLIMIT[name], 0, data.address);
      return { name, data };
    });
    return () =>
      Object.fromEntries(
        asked.map(({ name, data }) => [
          name,
          { soft: data.bytes.readBigUInt64LE(0), hard: data.bytes.readBigUInt64LE(8) },
        ]),
      ) as Limits;
  },
  ofCommand: ({ ownPid }) =>
    Object.fromEntries(limitNames().map((name) => [name, getLimit(ownPid, RLIMIT[name])])) as Limits,
  plan: (state, host, pid) => limitEntries(state).flatMap(([name, wanted]) => aboveOwn(name, wanted.hard, host, pid)),
  restore: (state, { batch }) => {
    for (const [name, wanted] of limitEntries(state)) {
      const data = batch.data(16);
      data.bytes.writeBigUInt64LE(wanted.soft, 0);
      data.bytes.writeBigUInt64LE(wanted.hard, 8);
      batch.call(`set ${name}`, SYS.prlimit64, 0, RLIMIT[name], data.address, 0);
    }
  },
};

function limitEntries(state: Limits): [LimitName, v.InferOutput<typeof limit>][] {
  return Object.entries(state) as [LimitName, v.InferOutput<typeof limit>][];
}

function aboveOwn(name: LimitName, hard: bigint, host: HostView, pid: Pid): Problem[] {
  if ((host.status.capEffective >> CAP_SYS_RESOURCE) & 1n) return [];
  const own = getLimit(host.ownPid, RLIMIT[name]).hard;
  if (hard <= own) return [];
  return [
    {
      code: 'limit-too-high',
      path: [`pid ${pid}`, 'limits', name],
      message: `Its hard limit ${name} is ${hard}, above this command's own ${own}, which only CAP_SYS_RESOURCE may give.`,
      remedy: 'Raise the limit of the shell that runs the restart, or run it with CAP_SYS_RESOURCE.',
    },
  ];
}
