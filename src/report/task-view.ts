/** One process looked at closely: where its threads stood, by name. */

import type { OpenedInput } from '../image/image-source.ts';
import { processesOf } from '../image/processes.ts';
import { isLinuxCr } from '../linux-cr/layout.ts';
import { type AddressedImage, openAddressed } from '../pages/addressed-image.ts';
import { lookAhead } from '../pages/open-image.ts';
import { QuicksaveError } from '../support/errors.ts';
import { type Inspection, inspectAddressed, inspectInput } from './inspect.ts';
import type { ThreadInspection } from './inspect-thread.ts';
import { ProcessMemory } from './process-memory.ts';
import { Symbols } from './symbols.ts';

const MAX_STACK_ENTRIES = 64;

/** What comes through a pipe is kept in memory. */
export const openForLooking = (opened: OpenedInput): AddressedImage => openAddressed(opened);

/** Of an image in a file, in whatever format; with `pid` of one process, closely. */
export function inspectOpened(opened: OpenedInput, pid: number | undefined): Inspection {
  if (pid === undefined && opened.sizeBytes !== undefined && isLinuxCr(lookAhead(opened).start))
    return inspectInput(opened);
  const image = openAddressed(opened);
  try {
    return pid === undefined ? inspectAddressed(image) : inspectTask(image, pid);
  } finally {
    image.close();
  }
}

/** The memory of the process with this id, or of the root of the tree. */
export function memoryOf(image: AddressedImage, pid?: number): ProcessMemory {
  const processes = processesOf(image.model);
  const process = pid === undefined ? processes[0] : processes.find(({ task }) => task.pid === pid);
  if (process !== undefined) return new ProcessMemory(image, process);
  throw new QuicksaveError('no-such-process', `The image has no process ${pid}.`, {
    remedy: `It has ${processes.map(({ task }) => task.pid).join(', ')}.`,
  });
}

/** An inspection of this process alone. */
function inspectTask(image: AddressedImage, pid: number): Inspection {
  const memory = memoryOf(image, pid);
  const inspection = inspectAddressed(image);
  const symbols = new Symbols(memory);
  const word = memory.process.task.addressBits === 32 ? 4 : 8;
  const closely = (thread: ThreadInspection): ThreadInspection => {
    const place = symbols.placeOf(Number(thread.registers.rip));
    const stack = symbols.returnAddresses(Number(thread.registers.rsp), word, MAX_STACK_ENTRIES);
    return { ...thread, ...(place === undefined ? {} : { place }), stack };
  };
  try {
    const processes = inspection.processes
      .filter((process) => process.pid === pid)
      .map((process) => ({ ...process, threads: process.threads.map(closely) }));
    return { ...inspection, processes };
  } finally {
    symbols.close();
  }
}
