/** /proc/cpuinfo, the part of the first processor: proc_cpuinfo(5). Only what x86 prints. */
import { readFileSync } from 'node:fs';
import { KeyedText, words } from './proc-text.ts';

export interface Cpuinfo {
  readonly vendor: string;
  readonly family: number;
  readonly model: number;
  readonly modelName: string;
  /** "unknown" for very old processors. */
  readonly stepping: string;
  readonly flags: ReadonlySet<string>;
}

export const readCpuinfo = (): Cpuinfo => parseCpuinfo(readFileSync('/proc/cpuinfo', 'utf8'));

export function parseCpuinfo(text: string): Cpuinfo {
  const [first = ''] = text.split('\n\n');
  const fields = new KeyedText('cpuinfo', first);
  return {
    vendor: fields.text('vendor_id'),
    family: fields.decimal('cpu family'),
    model: fields.decimal('model'),
    modelName: fields.text('model name'),
    stepping: fields.text('stepping'),
    flags: new Set(words(fields.text('flags'))),
  };
}
