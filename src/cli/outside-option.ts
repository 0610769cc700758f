/** `--external SOCKET` and `--close-external`: of a save, and of the question what stands in its way. */
import { Option } from 'commander';
import { type OutsideChoice, outsidePolicyOf } from '../checkpoint/outside-choice.ts';
import type { CheckpointRequest } from '../checkpoint/request.ts';
import { UsageError } from './usage-error.ts';

export const external = (): Option =>
  new Option(
    '--external <socket>',
    'a UNIX socket outside, by its path or @name: who is connected to it is connected again; may be given several times',
  ).argParser((value: string, before: readonly string[] = []) => [...before, value]);

export const closeExternal = (): Option =>
  new Option('--close-external', 'other connections and pipes to processes outside come back closed by the other end');

export function parseOutside(choice: OutsideChoice): CheckpointRequest['outside'] {
  if (choice.external?.includes('')) throw new UsageError('--external takes the path or the @name of a socket.');
  return outsidePolicyOf(choice);
}
