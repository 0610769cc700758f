/**
 * quicksave as a library: save a running process, bring it back, look into an image, ask what a host can do.
 *
 * ```ts
 * import { checkpoint, restart } from 'quicksave';
 *
 * await checkpoint(pid, 'job.qs', { kill: true });
 * const { exited } = await restart('job.qs');
 * console.log(await exited());
 * ```
 */
export type { ProcessCheck } from './checkpoint/check.ts';
export type { StillMapping, StillProcess, StillThread } from './checkpoint/look.ts';
export type { CheckpointSummary } from './checkpoint/request.ts';
export { type CheckpointOptions, checkpoint } from './library/checkpoint.ts';
export { type Frozen, freeze } from './library/freeze.ts';
export {
  check,
  diff,
  type InspectOptions,
  type Intact,
  inspect,
  type LookOptions,
  type VerifyOptions,
  verify,
} from './library/look.ts';
export type { PipelineOptions, Progress } from './library/pipeline.ts';
export { type End, type Restarted, type RestartOptions, restart } from './library/restart.ts';
export { checkpointSelf, type SelfOptions, type SelfResult } from './library/self.ts';
export type { HostCheck } from './report/check-host.ts';
export type { Change, Difference, MemoryChange } from './report/diff.ts';
export type { Inspection } from './report/inspect.ts';
export { ImageError, type Problem, QuicksaveError, RefusedError } from './support/errors.ts';
