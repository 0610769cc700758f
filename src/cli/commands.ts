/**
 * All that the command does, in one bundle of its own: `quicksave --help` does not load it, and nothing is loaded in pieces,
 * because each file costs a millisecond of start-up.
 */
export { startFaultPoints } from '../kernel/fault-points.ts';
export { traceCalls } from '../kernel/traced-calls.ts';
export { runCheck } from './check.ts';
export { runCheckpoint } from './checkpoint.ts';
export { runCleanup } from './cleanup.ts';
export { runDiff } from './diff.ts';
export { runExport } from './export.ts';
export { runInspect } from './inspect.ts';
export { runKeygen } from './keygen.ts';
export { runMerge } from './merge.ts';
export { failWith } from './print-error.ts';
export { runReport } from './report.ts';
export { runRestart } from './restart.ts';
export { runRun } from './run.ts';
export { runCompletion } from './run-completion.ts';
export { runHistory, runStatus } from './status.ts';
export { runVerify } from './verify.ts';
export { runVersion } from './version.ts';
