/** `quicksave inspect IMAGE`: the tree and what takes room; with options, one thing closely. */
import { type FindImage, imagesBeside } from '../image/image-folder.ts';
import type { OpenedInput } from '../image/image-source.ts';
import { readAccess } from '../image/protection.ts';
import { openInput } from '../remote/open-input.ts';
import { type Inspection, inspectInput } from '../report/inspect.ts';
import { renderInspection } from '../report/render-inspection.ts';
import { printable } from '../report/table.ts';
import { inspectOpened } from '../report/task-view.ts';
import { parsePid } from './checkpoint.ts';
import { coloured, paintFor } from './colour.ts';
import { EXIT_FAILED } from './exit-status.ts';
import { lookIntoMemory, type MemoryOptions } from './inspect-memory.ts';
import { printLine } from './print-error.ts';
import { printResult } from './print-result.ts';
import { UsageError } from './usage-error.ts';

const STANDARD_OUTPUT = 1;
const STANDARD_ERROR = 2;

interface Options extends MemoryOptions {
  readonly all?: boolean;
  readonly task?: string;
  readonly maps?: boolean;
  readonly fds?: boolean;
  readonly sockets?: boolean;
  readonly images?: string;
  readonly key?: readonly string[];
}

export function runInspect(image: string, options: Options): void {
  const views = [options.memory, options.strings, options.search].filter((one) => one !== undefined);
  if (views.length > 1) throw new UsageError('give one of --memory, --strings and --search.');
  const pid = options.task === undefined ? undefined : parsePid(options.task);
  const access = readAccess({ keys: options.key });
  const find = imagesBeside(image, options.images, access);
  const input = openInput(image, { access });
  try {
    if (views.length > 0) tellCut(lookIntoMemory(input, options, pid, find));
    else {
      const inspection = inspect(input, pid, find);
      showInspection(inspection, options);
      tellCut(inspection.cut);
    }
  } finally {
    input.close();
  }
}

/** A pipe is only kept in memory where pages have to be looked up. */
function inspect(input: OpenedInput, pid: number | undefined, find: FindImage): Inspection {
  return pid === undefined && input.sizeBytes === undefined
    ? inspectInput(input, { showsCut: true })
    : inspectOpened(input, pid, find);
}

/** What there is has been shown; nobody is to take it for all. */
function tellCut(cut: Inspection['cut']): void {
  if (cut === undefined) return;
  printLine(`${coloured(STANDARD_ERROR, 'red', 'quicksave:')} ${printable(cut.message)}`);
  printLine(`  Shown is what comes before that; it can only be inspected. [${cut.code}]`);
  process.exitCode = EXIT_FAILED;
}

function showInspection(inspection: Inspection, options: Options): void {
  const { json, all = false, task, maps = false, fds = false, sockets = false } = options;
  if (json) {
    printResult(`${JSON.stringify(inspection, undefined, 2)}\n`);
    return;
  }
  const narrowed = maps || fds || sockets;
  const view = {
    all,
    details: all || (task !== undefined && !narrowed),
    maps: all || maps,
    descriptors: all || fds,
    sockets,
  };
  printResult(renderInspection(inspection, view, paintFor(STANDARD_OUTPUT)));
}
