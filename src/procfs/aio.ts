/** Asynchronous I/O of all processes: proc_sys_fs(5). */
import { readFileSync } from 'node:fs';
import { possibleCpus } from './cpus.ts';

export interface AioLimits {
  /** Requests that contexts to come may ask for. */
  readonly free: number;
  /** Processors that there may ever be: the size of a ring depends on them. */
  readonly cpus: number;
}

export function readAioLimits(): AioLimits {
  const read = (name: string): number => Number(readFileSync(`/proc/sys/fs/${name}`, 'utf8'));
  return { free: read('aio-max-nr') - read('aio-nr'), cpus: possibleCpus().length };
}
