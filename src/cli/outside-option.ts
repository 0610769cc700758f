/** `--tcp POLICY`, `--external SOCKET` and `--close-external`: of a save, and of the question what stands in its way. */
import { Option } from 'commander';
import { type OutsideChoice, outsidePolicyOf } from '../checkpoint/outside-choice.ts';
import type { CheckpointRequest } from '../checkpoint/request.ts';
import { UsageError } from './usage-error.ts';

export const tcp = (): Option =>
  new Option(
    '--tcp <policy>',
    'TCP connections: established (kept), close (they come back as reset) or refuse',
  ).default('established');

export const external = (): Option =>
  new Option(
    '--external <socket>',
    'a UNIX socket outside, by its path or @name: who is connected to it is connected again; may be given several times',
  ).argParser((value: string, before: readonly string[] = []) => [...before, value]);

export const closeExternal = (): Option =>
  new Option('--close-external', 'other connections and pipes to processes outside come back closed by the other end');

/** As the command takes them. */
export type OutsideOptions = Omit<OutsideChoice, 'tcp'> & { readonly tcp: string };

export function parseOutside({ tcp, ...choice }: OutsideOptions): CheckpointRequest['outside'] {
  if (choice.external?.includes('')) throw new UsageError('--external takes the path or the @name of a socket.');
  return outsidePolicyOf({ ...choice, tcp: parseTcp(tcp) });
}

export function parseTcp(text: string): CheckpointRequest['tcp'] {
  if (text === 'established' || text === 'close' || text === 'refuse') return text;
  throw new UsageError(`--tcp takes established, close or refuse, not "${text}".`);
}
