/** An object that another process has open too, and that only both together could have again. */
import type { Holder } from '../procfs/holders.ts';
import type { Problem } from '../support/errors.ts';
import type { DescriptorView } from './resource.ts';

/** `what` with its article. */
export function heldOutside({ pid, fd, descriptor, outsiders }: DescriptorView, what: string): Problem[] {
  if (outsiders.length === 0) return [];
  return [
    {
      code: 'held-outside',
      path: [`pid ${pid}`, `fd ${fd}`, descriptor.target],
      message: `It has ${what} open that ${describeHolders(outsiders)} has too, outside of what is saved.`,
      remedy: 'Close it there, or end the other process first.',
    },
  ];
}

export const describeHolders = (holders: readonly Holder[]): string =>
  holders.map(({ pid, comm, fd }) => `${pid} (${comm}, fd ${fd})`).join(', ');
