/** A program at one of its own limits has no room for the agent; what to do about it is worth a sentence. */
import { KernelError } from '../kernel/errors.ts';
import { QuicksaveError } from '../support/errors.ts';

/** Runs a step that needs two descriptors and some memory in process `pid`. */
export function needingRoom<T>(pid: number, bring: () => T): T {
  try {
    return bring();
  } catch (error) {
    const remedy = error instanceof KernelError ? remedyFor(error.errnoName, pid) : undefined;
    if (remedy === undefined || !(error instanceof KernelError)) throw error;
    throw new QuicksaveError('no-room', error.message, { remedy, cause: error });
  }
}

function remedyFor(errnoName: string, pid: number): string | undefined {
  if (errnoName === 'EMFILE') {
    return `A save needs two free descriptors in the program for a moment. Raise its limit: prlimit --pid ${pid} --nofile=NUMBER`;
  }
  if (errnoName === 'ENOMEM') {
    return `A save needs 200 KiB in the program for a moment. Raise its limit: prlimit --pid ${pid} --as=unlimited; or sysctl vm.max_map_count, if it has that many mappings.`;
  }
  return undefined;
}
