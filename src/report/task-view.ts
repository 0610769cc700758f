/** One process looked at closely: where its threads stood, by name. */

import type { OpenedInput } from '../image/image-source.ts';
import { processesOf } from '../image/processes.ts';
import { isLinuxCr } from '../linux-cr/layout.ts';
import { type AddressedImage, openAddressed } from '../pages/addressed-image.ts';
import { lookAhead } from '../pages/open-image.ts';
import { QuicksaveError } from '../support/errors.ts';
import { type Inspection, inspectAddressed, inspectInput, type ProcessInspection } from './inspect.ts';
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
  const image = pid === undefined ? tryOpenWhole(opened) : openAddressed(opened);
  if (image === undefined) return inspectInput(opened);
  try {
    return pid === undefined ? inspectAddressed(image) : inspectTask(image, pid);
  } finally {
    image.close();
  }
}

/** Undefined for an incremental image: what it says itself can be told without its parents, the arguments of its programs cannot. */
function tryOpenWhole(opened: OpenedInput): AddressedImage | undefined {
  try {
    return openAddressed(opened);
  } catch (error) {
    if (error instanceof QuicksaveError && error.code === 'incremental-image') return undefined;
    throw error;
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
  memoryOf(image, pid);
  const inspection = inspectAddressed(image);
  const processes = inspection.processes.filter((process) => process.pid === pid);
  return { ...inspection, processes: processes.map((process) => lookClosely(image, process)) };
}

/** Where its threads stood, and what is on their stacks. */
export function lookClosely(image: AddressedImage, process: ProcessInspection): ProcessInspection {
  const symbols = new Symbols(memoryOf(image, process.pid));
  const word = process.addressBits === 32 ? 4 : 8;
  const closely = (thread: ThreadInspection): ThreadInspection => {
    const place = symbols.placeOf(Number(thread.registers.rip));
    const stack = symbols.returnAddresses(Number(thread.registers.rsp), word, MAX_STACK_ENTRIES);
    return { ...thread, ...(place === undefined ? {} : { place }), stack };
  };
  try {
    return { ...process, threads: process.threads.map(closely) };
  } finally {
    symbols.close();
  }
}
