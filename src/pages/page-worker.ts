/** A thread that moves pages beside the one that holds the target. It waits for jobs and ends with the process. */
import { parentPort, workerData } from 'node:worker_threads';
import { type LoadJob, runLoadJob } from './load-job.ts';
import { runSaveJob, SaveBuffers, type SaveJob } from './save-job.ts';
import { SharedState } from './shared-state.ts';

let buffers: SaveBuffers | undefined;

function nothing(): void {
  // The thread that holds the target reports the progress.
}

parentPort?.on('message', (job: SaveJob | LoadJob) => {
  const state = new SharedState(job.shared);
  if (job.kind === 'save') {
    buffers ??= new SaveBuffers();
    runSaveJob(job, state, buffers, nothing);
  } else {
    runLoadJob(job, state, nothing);
  }
});

const loaded = new Int32Array(workerData as SharedArrayBuffer);
Atomics.add(loaded, 0, 1);
Atomics.notify(loaded, 0);
