/** One process looked at closely: where its threads stood, by name. */

import type { FindImage } from '../image/image-folder.ts';
import type { OpenedInput } from '../image/image-source.ts';
import { isCut, type LookThroughOptions } from '../image/look-through.ts';
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

/** What comes through a pipe is kept in memory. `find`: where the parents of an incremental image are. */
export const openForLooking = (
  opened: OpenedInput,
  find?: FindImage,
  options: LookThroughOptions = {},
): AddressedImage => openAddressed(opened, find, options);

/** Of an image in a file, in whatever format and also if it was cut; with `pid` of one process, closely. */
export function inspectOpened(opened: OpenedInput, pid: number | undefined, find?: FindImage): Inspection {
  if (pid === undefined && opened.sizeBytes !== undefined && isLinuxCr(lookAhead(opened).start))
    return inspectInput(opened);
  // A pipe cannot be read twice.
  const isPipe = opened.sizeBytes === undefined;
  const image = isPipe ? openAddressed(opened, find, { showsCut: true }) : tryOpenAddressed(opened, find);
  if (image === undefined) return onlyOf(inspectAlone(opened), pid);
  try {
    const inspection = inspectAddressed(image);
    if (pid === undefined) return inspection;
    const one = onlyOf(inspection, pid);
    return { ...one, processes: one.processes.map((process) => lookClosely(image, process)) };
  } finally {
    image.close();
  }
}

/**
 * Undefined without the parents of an incremental image, and for one that was cut before its first process: what it says itself can
 * be told, what is in its memory cannot.
 */
function tryOpenAddressed(opened: OpenedInput, find: FindImage | undefined): AddressedImage | undefined {
  try {
    return openAddressed(opened, find, { showsCut: true });
  } catch (error) {
    if (isCut(error) || missesParent(error)) return undefined;
    throw error;
  }
}

const missesParent = (error: unknown): boolean =>
  error instanceof QuicksaveError && ['incremental-image', 'missing-parent'].includes(error.code);

function inspectAlone(opened: OpenedInput): Inspection {
  const inspection = inspectInput(opened, { showsCut: true });
  const isWhole = inspection.header.parentId === undefined || inspection.processes.length === 0;
  return isWhole ? inspection : { ...inspection, missesParent: true };
}

/** An inspection of this process alone, if one is given. */
function onlyOf(inspection: Inspection, pid: number | undefined): Inspection {
  if (pid === undefined) return inspection;
  const processes = inspection.processes.filter((process) => process.pid === pid);
  if (processes.length > 0) return { ...inspection, processes };
  throw noSuchProcess(
    pid,
    inspection.processes.map((process) => process.pid),
  );
}

/** The memory of the process with this id, or of the root of the tree. */
export function memoryOf(image: AddressedImage, pid?: number): ProcessMemory {
  const processes = processesOf(image.model);
  const process = pid === undefined ? processes[0] : processes.find(({ task }) => task.pid === pid);
  if (process !== undefined) return new ProcessMemory(image, process);
  throw noSuchProcess(
    pid,
    processes.map(({ task }) => task.pid),
  );
}

const noSuchProcess = (pid: number | undefined, there: readonly number[]): QuicksaveError =>
  new QuicksaveError('no-such-process', `The image has no process ${pid}.`, {
    remedy: `It has ${there.join(', ')}.`,
  });

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
