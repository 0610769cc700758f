/** A thread that moves pages beside the one that holds the target. It waits for jobs, until one is undefined. */
import { parentPort, workerData } from 'node:worker_threads';
import { startFaultPoints } from '../kernel/fault-points.ts';
import { type LoadJob, runLoadJob } from './load-job.ts';
import { runSaveJob, SaveBuffers, type SaveJob } from './save-job.ts';
import { SharedState } from './shared-state.ts';

let buffers: SaveBuffers | undefined;

function nothing(): void {
  // The thread that holds the target reports the progress.
}

startFaultPoints(process.env['QUICKSAVE_FAULT']);

const ended = new Int32Array(workerData as SharedArrayBuffer);

parentPort?.on('message', (job: SaveJob | LoadJob | undefined) => {
  if (job === undefined) {
    parentPort?.close();
    Atomics.add(ended, 0, 1);
    Atomics.notify(ended, 0);
    return;
  }
  const state = new SharedState(job.shared);
  if (job.kind === 'save') {
    buffers ??= new SaveBuffers();
    runSaveJob(job, state, buffers, nothing);
  } else {
    runLoadJob(job, state, nothing);
  }
});
