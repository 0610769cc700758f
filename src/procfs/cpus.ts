/** Processors of this machine. */
import { readFileSync } from 'node:fs';
import { parseList } from './proc-text.ts';

const POSSIBLE = '/sys/devices/system/cpu/possible';

/** Those that there may ever be while the kernel runs: what it has for each processor it has for these. */
export const possibleCpus = (): number[] => parseList(POSSIBLE, 'CPUs', readFileSync(POSSIBLE, 'utf8').trim());
