/**
 * A page to look at: one HTML file with its script, style and data in it, which asks nobody for anything. Names in an image come from
 * programs and are not trusted: they are data in the page, never markup, and a content security policy allows nothing but the page's own script.
 */
import { createHash } from 'node:crypto';
import type { PageRun } from '../image/page-chunk.ts';
import { processesOf } from '../image/processes.ts';
import type { Timeline } from '../image/timeline.ts';
import type { AddressedImage } from '../pages/addressed-image.ts';
import { preciseText } from '../support/duration.ts';
import { aspectLines, plain, wordsOf } from './aspect-text.ts';
import { objectsOf } from './descriptor-links.ts';
import { inspectAddressed, type MappingInspection, type ProcessInspection } from './inspect.ts';
import type { DescriptorInspection } from './inspect-descriptor.ts';
import type { ThreadInspection } from './inspect-thread.ts';
import { numberAt } from './json.ts';
import {
  type PageData,
  type PageDescriptor,
  type PageMapping,
  type PageProcess,
  type PageStep,
  type PageThread,
  type PageTimeline,
  pageSorts,
} from './page-data.ts';
import { pauseOf, type SaveStep, saveSteps } from './save-steps.ts';
import { socketWords } from './socket-text.ts';
import { describeSystemCall } from './system-call.ts';
import { sizeText } from './table.ts';
import { lookClosely } from './task-view.ts';

const PAGE = 4096;
/** So many parts of a mapping are drawn apart. */
const MAX_PARTS = 96;

export interface PageAssets {
  readonly script: string;
  readonly style: string;
}

export function pageOf(image: AddressedImage, { script, style }: PageAssets): string {
  const data = dataOf(image);
  const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  const policy = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; base-uri 'none'; form-action 'none'`;
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<title>quicksave</title>',
    `<style>${style}</style>`,
    '</head>',
    '<body>',
    `<script type="application/json" id="data">${inScript(JSON.stringify(data))}</script>`,
    `<script>${script}</script>`,
    '</body>',
    '</html>',
    '',
  ].join('\n');
}

/** JSON in which nothing can end the element that it stands in. */
const inScript = (json: string): string =>
  json.replace(/[<>&\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

function dataOf(image: AddressedImage): PageData {
  const inspection = inspectAddressed(image);
  const { header, sizes } = inspection;
  const runs = new Map<number, PageRun[]>();
  for (const chunk of image.chunks) {
    const known = runs.get(chunk.objref) ?? [];
    for (const run of chunk.runs) known.push(run);
    runs.set(chunk.objref, known);
  }
  for (const ofObject of runs.values()) ofObject.sort((a, b) => a.start - b.start);
  const memories = new Map(processesOf(image.model).map(({ task, memoryObject }) => [task.pid, memoryObject]));
  const runsOf = (object: number | undefined): readonly PageRun[] => runs.get(object ?? -1) ?? [];
  const processes = inspection.processes.map((process) =>
    processOf(lookClosely(image, process), memories.get(process.pid), runsOf),
  );
  const [root] = inspection.processes;
  return {
    title: `${root?.comm ?? 'image'} ${root?.pid ?? ''}`,
    facts: [
      ['made', `${header.createdAt} by ${header.tool}`],
      ['kernel', `${header.kernel.release} ${header.kernel.machine}`],
      ['processor', header.cpu.vendor],
      ['image', `${sizeText(sizes.imageBytes)}, ${sizes.records} records`],
      ['pages', `${sizes.pages.dataPages} with bytes, ${sizes.pages.zeroPages} of zeros`],
    ],
    ...(inspection.timeline === undefined ? {} : { timeline: timelineOf(inspection.timeline) }),
    sizes: [
      ...sizes.memory.map(({ kind, dataPages }) => ({ label: kind, bytes: dataPages * PAGE })),
      { label: 'content of files', bytes: sizes.content.reduce((sum, { dataPages }) => sum + dataPages * PAGE, 0) },
      { label: 'metadata', bytes: sizes.otherBytes },
    ].filter(({ bytes }) => bytes > 0),
    processes,
    isIncremental: header.parentId !== undefined,
    objects: objectsOf(inspection.processes),
  };
}

function timelineOf(timeline: Timeline): PageTimeline {
  const shown = (step: SaveStep): PageStep => ({ ...step, text: preciseText(step.endUs - step.startUs) });
  const pause = pauseOf(timeline);
  return { steps: saveSteps(timeline).map(shown), ...(pause === undefined ? {} : { pause: shown(pause) }) };
}

/** Of a memory or another object with pages, ascending. */
type RunsOf = (object: number | undefined) => readonly PageRun[];

function processOf(process: ProcessInspection, memory: number | undefined, runsOf: RunsOf): PageProcess {
  const { pid, parent, comm, command } = process;
  const facts = Object.entries(process.aspects).flatMap(([name, state]) =>
    aspectLines(name, state).map((line, index): readonly [string, string] => [index === 0 ? wordsOf(name) : '', line]),
  );
  return {
    pid,
    ...(parent === undefined ? {} : { parent }),
    comm,
    command: command?.join(' ') ?? comm,
    facts,
    threads: process.threads.map(threadOf),
    mappings: process.mappings.map((mapping) => ({
      ...mappingOf(mapping, roleOf(mapping, process)),
      ...partsOf(mapping, memory, runsOf),
    })),
    descriptors: process.descriptors.map(descriptorOf),
  };
}

function threadOf(thread: ThreadInspection): PageThread {
  const { tid, name, registers, eflags, systemCall, place, stack = [] } = thread;
  const call = systemCall === undefined ? 'its own code' : describeSystemCall(systemCall);
  const named = name === undefined ? {} : { name };
  return { tid, ...named, registers, eflags, call, ...(place === undefined ? {} : { place }), stack };
}

/** As /proc/PID/maps would say it, and stacks of threads. */
function roleOf({ start, end, kind }: MappingInspection, { aspects, threads }: ProcessInspection): string | undefined {
  if (kind !== 'anonymous') return undefined;
  const isIn = (address: number | undefined): boolean =>
    address !== undefined && Number(start) <= address && address < Number(end);
  const fields = aspects['memoryMapFields'];
  if (isIn(numberAt(fields, 'startBrk')) && numberAt(fields, 'startBrk') !== numberAt(fields, 'brk')) return '[heap]';
  if (isIn(numberAt(fields, 'startStack'))) return '[stack]';
  const owner = threads.find(({ registers }) => isIn(Number(registers.rsp)));
  return owner === undefined ? undefined : `[stack of ${owner.tid}]`;
}

function mappingOf(mapping: MappingInspection, role: string | undefined): Omit<PageMapping, 'parts' | 'pages'> {
  const { start, end, sizeBytes, permissions, kind, flags } = mapping;
  const label = mapping.file ?? mapping.name ?? role ?? kind;
  return { start, end, sizeBytes, permissions, kind, label, flags };
}

/** The pages of a mapping of an object (shared memory) are those of the object. */
function partsOf(
  { start, sizeBytes, offset, state }: MappingInspection,
  memory: number | undefined,
  runsOf: RunsOf,
): Pick<PageMapping, 'parts' | 'pages'> {
  const object = numberAt(state, 'object');
  const first = object === undefined ? Number(start) : offset;
  const parts = countParts(first, first + sizeBytes, runsOf(object ?? memory));
  const pages = parts.reduce(
    (sum, part) => sum.map((count, index) => count + (part[index] ?? 0)),
    pageSorts.map(() => 0),
  );
  const isEmpty = pages.every((count) => count === 0);
  return { pages: pages.map(Math.round), parts: isEmpty ? [] : parts.map((part) => part.map(rounded)) };
}

const rounded = (value: number): number => Math.round(value * 100) / 100;

/** Of each part, how many pages there are of each sort. */
function countParts(start: number, end: number, runs: readonly PageRun[]): number[][] {
  const count = Math.min(MAX_PARTS, (end - start) / PAGE);
  const partBytes = (end - start) / count;
  const parts = Array.from({ length: count }, () => pageSorts.map(() => 0));
  for (const run of runsWithin(runs, start, end)) {
    const sort = pageSorts.indexOf(run.kind === 'relative' || run.kind === 'parent' ? 'elsewhere' : run.kind);
    const last = Math.min(end, run.start + run.pages * PAGE);
    for (let at = Math.max(start, run.start); at < last; ) {
      const index = Math.min(count - 1, Math.floor((at - start) / partBytes));
      // Parts need not end with a page.
      const next = Math.max(at + 1, Math.min(last, start + (index + 1) * partBytes));
      const part = parts[index];
      if (part !== undefined) part[sort] = (part[sort] ?? 0) + (next - at) / PAGE;
      at = next;
    }
  }
  return parts;
}

function runsWithin(runs: readonly PageRun[], start: number, end: number): readonly PageRun[] {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const run = runs[middle] as PageRun;
    if (run.start + run.pages * PAGE <= start) low = middle + 1;
    else high = middle;
  }
  let stop = low;
  while ((runs[stop]?.start ?? Number.POSITIVE_INFINITY) < end) stop++;
  return runs.slice(low, stop);
}

function descriptorOf({ fd, object, kind, closeOnExec, path, state }: DescriptorInspection): PageDescriptor {
  return {
    fd,
    object,
    kind,
    closeOnExec,
    label: path ?? socketWords(kind, state) ?? kind,
    detail: plain(state).join(' '),
  };
}
