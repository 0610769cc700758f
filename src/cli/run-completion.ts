/** `quicksave completion SHELL` */
import type { Command } from 'commander';
import { completionOf, type Shell, shells } from './completion.ts';
import { printResult } from './print-result.ts';
import { UsageError } from './usage-error.ts';

export function runCompletion(root: Command, name: string): void {
  const shell = shells.find((one): one is Shell => one === name);
  if (shell === undefined) throw new UsageError(`completion takes ${shells.join(', ')}, not "${name}".`);
  printResult(completionOf(root, shell));
}
