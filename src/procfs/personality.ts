/** /proc/PID/personality: personality(2), eight hexadecimal digits. */
import type { Pid } from '../support/brand.ts';
import { readProcText } from './proc-file.ts';
import { malformed } from './proc-text.ts';

export const readPersonality = (pid: Pid): number => parsePersonality(readProcText(pid, 'personality'));

export function parsePersonality(text: string): number {
  if (!/^[0-9a-f]{8}\n$/.test(text)) throw malformed('personality', 'a number', text);
  return Number.parseInt(text, 16);
}
