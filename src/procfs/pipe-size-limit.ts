/** /proc/sys/fs/pipe-max-size: proc_sys_fs(5). */
import { readFileSync } from 'node:fs';
import { parseDecimal } from './proc-text.ts';

export const pipeSizeLimit = (): number =>
  parseDecimal('pipe-max-size', 'a size', readFileSync('/proc/sys/fs/pipe-max-size', 'utf8').trim());
