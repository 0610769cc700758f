/**
 * What of a process no file and no call shows, and no restart gives back: its Landlock domain (landlock(7)), the I/O privilege level (iopl(2)), and rings of
 * io_uring that it has only registered. Read where the kernel keeps it (CAP_BPF, CAP_PERFMON). A sandbox must not be lost in silence: refused.
 * Where that cannot be read, a process that may have one (no_new_privs, which Landlock asks for) is told of.
 */
import * as v from 'valibot';
import { hasLandlock } from '../../kernel/calls/security-modules.ts';
import { type HiddenTask, tryReadHidden } from '../../kernel/task-objects.ts';
import type { Problem } from '../../support/errors.ts';
import type { ProcessAspect, ProcessView } from '../resource.ts';

const schema = v.strictObject({
  /** Whether it has a Landlock domain could not be seen, and it may have one. */
  landlock: v.optional(v.boolean()),
});
type UnseenState = v.InferOutput<typeof schema>;

export const unseenState: ProcessAspect<UnseenState> = {
  name: 'unseenState',
  // Images from before do not have it.
  schema: v.optional(schema, {}),
  stage: 'late',
  obstacles: ({ pid, speaker }) =>
    (tryReadHidden(speaker) ?? []).flatMap((task) => hiddenObstacles(task, [`pid ${pid}`])),
  collect: (view) => {
    const state = mayBeInLandlock(view) ? { landlock: true } : {};
    return () => state;
  },
  restore: () => {
    // What could not be seen is not there either.
  },
  loss: ({ landlock }, pid) =>
    landlock === true
      ? `whether process ${pid} is in a sandbox of Landlock is only to be seen with CAP_BPF and CAP_PERFMON: if so, it is not in the image`
      : undefined,
  remark: (_state, pid, { ownPid, status }) =>
    // Every save of a process that has one is refused.
    status.noNewPrivs && tryReadHidden(ownPid)?.some(({ inLandlock }) => inLandlock === true)
      ? `process ${pid} is in the sandbox of Landlock that the restart command is in`
      : undefined,
};

/** Exported for its test. */
export function hiddenObstacles(task: HiddenTask, process: readonly string[]): Problem[] {
  const { inLandlock, portLevel, hiddenRings } = task;
  if (inLandlock !== true && portLevel === 0 && hiddenRings === 0) return [];
  const path = [...process, `thread ${task.number()}`];
  return [
    ...(inLandlock === true ? [landlockProblem(path)] : []),
    ...(portLevel > 0 ? [portsProblem(portLevel, path)] : []),
    ...(hiddenRings > 0 ? [ringProblem(path)] : []),
  ];
}

const landlockProblem = (path: readonly string[]): Problem => ({
  code: 'landlock',
  path,
  message:
    'It is in a sandbox of Landlock, which cannot be saved yet: it would come back with more rights than it has.',
});

const portsProblem = (level: number, path: readonly string[]): Problem => ({
  code: 'io-permissions',
  path,
  message: `It may use I/O ports (iopl ${level}), which cannot be saved.`,
});

const ringProblem = (path: readonly string[]): Problem => ({
  code: 'io-uring',
  path,
  message: 'It has an io_uring that it has registered and closed (IORING_REGISTER_RING_FDS), which cannot be saved.',
});

function mayBeInLandlock({ speaker, status }: ProcessView): boolean {
  if (!status.noNewPrivs || !hasLandlock()) return false;
  return tryReadHidden(speaker)?.some(({ inLandlock }) => inLandlock === undefined) ?? true;
}
