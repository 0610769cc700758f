/**
 * A stream to the world outside of the saved process: a terminal, or a pipe that somebody else holds. It cannot come back
 * by itself, so it is attached to the standard stream of the same number of the restart command, and the summary says so.
 * Only what is (or is the same thing as) descriptor 0, 1 or 2 is taken; anything else is refused with the peer's name.
 */
import { fstatSync } from 'node:fs';
import * as v from 'valibot';
import { boundedString, u32 } from '../../image/schema.ts';
import { FCNTL, OPEN } from '../../kernel/abi/fcntl.ts';
import { duplicate, fcntl, tryOpenFile } from '../../kernel/calls/descriptors.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import type { LocalFd } from '../../support/brand.ts';
import type { Problem } from '../../support/errors.ts';
import { describeHolders } from '../held-outside.ts';
import { masterIndex, masterOf } from '../pseudo-terminals.ts';
import type { DescriptorKind, DescriptorView } from '../resource.ts';
import { isTerminal } from '../terminal-devices.ts';

const schema = v.strictObject({
  stream: v.picklist([0, 1, 2]),
  flags: u32,
  was: boundedString(4200),
});
type ExternalStream = v.InferOutput<typeof schema>;

const streamNames = ['standard input', 'standard output', 'standard error'] as const;

export const externalStream: DescriptorKind<ExternalStream> = {
  kind: 'external-stream',
  schema,
  recognise: (view) =>
    (isTerminal(view.stat) && masterIndex(view) === undefined && masterOf(view) === undefined) ||
    (view.descriptor.kind === 'pipe' && view.outsiders.length > 0 && !isCutOff(view)),
  obstacles: (view) => (standardStreamOf(view) === undefined ? [notStandard(view)] : []),
  collect: (view) => ({
    stream: standardStreamOf(view) ?? 0,
    flags: (view.info.flags & ~OPEN.O_CLOEXEC) >>> 0,
    was: view.descriptor.target,
  }),
  eachNumberApart: true,
  restore: (state, world) => attach(world.standardStream(state.stream), state.flags),
  remark: (state, fd) => `descriptor ${fd} was ${state.was}: a restart gives it its own ${streamNames[state.stream]}`,
};

/** What F_SETFL can change (fcntl(2)) and belongs to the program rather than to the stream. */
const OWN_FLAGS = OPEN.O_NONBLOCK | OPEN.O_APPEND;

/**
 * A pipe or terminal is opened anew, so that the program has its own status flags and those of the restart command's
 * stream, which its shell shares, stay as they are. A socket cannot be opened; a file is shared, because its offset is.
 */
function attach(stream: LocalFd, flags: number): OwnedFd {
  const stat = fstatSync(stream);
  if (stat.isFile()) return duplicate(stream);
  const access = fcntl(stream, FCNTL.F_GETFL, 0, 'ask for the flags of a standard stream') & OPEN.O_ACCMODE;
  const again = access | OPEN.O_NOCTTY | OPEN.O_NONBLOCK;
  const attached = tryOpenFile(`/proc/self/fd/${stream}`, again) ?? duplicate(stream);
  fcntl(attached.number, FCNTL.F_SETFL, flags & OWN_FLAGS, 'set the flags of a standard stream');
  return attached;
}

/** It comes back as a pipe that nobody outside has. */
const isCutOff = (view: DescriptorView): boolean =>
  view.outside.closes && view.outsiders.length > 0 && standardStreamOf(view) === undefined;

/** The number of the standard stream that this is: its own, or that of a descriptor for the same terminal or pipe. */
function standardStreamOf(view: DescriptorView): 0 | 1 | 2 | undefined {
  const same = [view, ...view.siblings].filter((other) => other.descriptor.target === view.descriptor.target);
  const numbers = same.flatMap((other) => other.numbers).filter((fd) => fd <= 2);
  const own = view.numbers.find((fd) => fd <= 2);
  return (own ?? numbers.sort((a, b) => a - b)[0]) as 0 | 1 | 2 | undefined;
}

function notStandard(view: DescriptorView): Problem {
  const path = [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target];
  if (isTerminal(view.stat)) {
    return {
      code: 'terminal',
      path,
      message: `It has the terminal ${view.descriptor.target} open, not as a standard stream.`,
      remedy: 'Save it when the program has closed the terminal.',
    };
  }
  return {
    code: 'pipe-to-outside',
    path,
    message: `It has a pipe open that ${describeHolders(view.outsiders)} holds too, outside of what is saved.`,
    remedy:
      'Close the pipe, end the other process first, or give --close-external (the other end comes back as closed).',
  };
}
