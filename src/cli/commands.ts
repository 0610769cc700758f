/**
 * All that the command does, in one bundle of its own: `quicksave --help` does not load it, and nothing is loaded in pieces,
 * because each file costs a millisecond of start-up.
 */
export { runCheck } from './check.ts';
export { runCheckpoint } from './checkpoint.ts';
export { runCleanup } from './cleanup.ts';
export { runDiff } from './diff.ts';
export { runExport } from './export.ts';
export { runInspect } from './inspect.ts';
export { failWith } from './print-error.ts';
export { runRestart } from './restart.ts';
export { runVerify } from './verify.ts';
