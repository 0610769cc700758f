/** The script of a restart: read image -> plan -> rebuild -> resume. */

import { closeSync, openSync } from 'node:fs';
import { imagesBeside } from '../image/image-folder.ts';
import type { ImageAccess } from '../image/protection.ts';
import { KernelError } from '../kernel/errors.ts';
import type { ImageInput } from '../pages/image-input.ts';
import type { PlacedChunk } from '../pages/load-job.ts';
import { readImage } from '../pages/open-image.ts';
import { PageCrew } from '../pages/page-crew.ts';
import { chunksOf, type StoredPiece } from '../pages/stored-pages.ts';
import { openInput } from '../remote/open-input.ts';
import type { ClockChoice } from '../resources/clock-choice.ts';
import { asTid, type LocalFd, type Pid } from '../support/brand.ts';
import { QuicksaveError, RefusedError } from '../support/errors.ts';
import type { End } from './accompany.ts';
import type { CgroupChoice } from './cgroups.ts';
import { sideOf } from './command-states.ts';
import { lookAtHost } from './host.ts';
import { LazyLoading } from './lazy-loading.ts';
import type { Ended } from './lazy-tracing.ts';
import { numbersOf, planRestart, type RestartPlan } from './plan.ts';
import { Rebuild } from './rebuild.ts';
import { resumeTree } from './resume.ts';
import { takenPids } from './taken-pids.ts';
import { awaitReaping } from './zombies.ts';

export interface RestartRequest {
  /** A file's name, or `-` for standard input. */
  readonly source: string;
  readonly acceptChangedFiles: boolean;
  /** The folder where the parents of an incremental image are; undefined: that of the image. */
  readonly images?: string | undefined;
  /** Default: as the program had it. */
  readonly clock?: ClockChoice | undefined;
  /** Default: `join`. */
  readonly cgroups?: CgroupChoice | undefined;
  /** For the image, and those that it builds on. */
  readonly access: ImageAccess;
  /** Our descriptors for the streams that led to the outside. */
  readonly streams: readonly [number, number, number];
  /** Whose child the process becomes: ours (process.pid) or our parent's (process.ppid). */
  readonly parent: number;
  /** False if that parent ends as soon as the process runs. */
  readonly keepsParent: boolean;
  /** Called before the first process is made. */
  readonly onPlanned?: (pid: Pid) => void;
  /** Called when the process is complete and has not run yet. */
  readonly onRebuilt?: (pid: Pid) => void;
  readonly onPages: (doneBytes: number, totalBytes: number) => void;
  /** Undefined: all pages are there before the process runs. Else the image must be a plain one, in a file. */
  readonly lazy?: LazyRestart | undefined;
}

export interface LazyRestart {
  /** Called when it runs. */
  readonly onRunning: (summary: RestartSummary) => void;
  /** Called again and again while pages come; if it throws, the process is ended. */
  readonly onPages: (doneBytes: number, totalBytes: number) => void;
}

export interface RestartSummary {
  /** Of the root. */
  readonly pid: Pid;
  readonly processes: number;
  /** Of all processes. */
  readonly threads: number;
  /** Until it ran. */
  readonly totalMs: number;
  /** How the root has ended, if it did so while its pages came. A child of ours has been reaped then. */
  readonly ended?: End | undefined;
  readonly remarks: readonly string[];
}

/** Brings the process back, running. */
export function restart(request: RestartRequest): RestartSummary {
  const started = performance.now();
  const { access } = request;
  const opened = openInput(request.source, { access });
  const { lazy } = request;
  // There is little to load before it runs: workers would only be in its way.
  const crew = new PageCrew(lazy === undefined ? (opened.sizeBytes ?? 0) : 0, request.onPages);
  let input: ImageInput | undefined;
  try {
    const host = lookAtHost(request);
    input = readImage(opened, crew, {
      find: imagesBeside(request.source, request.images, access),
      side: () => sideOf(host),
      loads: true,
      unchecked: lazy !== undefined,
    });
    const numbers = numbersOf(input.model);
    awaitReaping(numbers);
    const plan = planRestart(input.model, host);
    // A stream that is standard input is used up by the image: the program gets nothing from it.
    const streams = request.source === '-' ? withoutInput(request.streams) : undefined;
    request.onPlanned?.(plan.pid);
    const summary = (remarks: readonly string[]): RestartSummary => ({
      pid: plan.pid,
      processes: plan.processes.length,
      threads: plan.processes.reduce((sum, { threads }) => sum + threads.length, 0),
      totalMs: performance.now() - started,
      remarks: [...plan.remarks, ...remarks],
    });
    try {
      const pages = { input, crew, summary };
      return rebuildAndResume(
        { ...request, streams: streams?.streams ?? request.streams, numbers },
        plan,
        pages,
        host.layout,
      );
    } finally {
      streams?.close();
    }
  } finally {
    input?.close();
    opened.close();
    crew.dismiss();
  }
}

function rebuildAndResume(
  request: RestartRequest & { readonly numbers: readonly number[] },
  plan: RestartPlan,
  {
    input,
    crew,
    summary,
  }: { input: ImageInput; crew: PageCrew; summary: (remarks: readonly string[]) => RestartSummary },
  layout: Parameters<typeof resumeTree>[1],
): RestartSummary {
  const { parent, keepsParent } = request;
  const { pieces } = input;
  const lazy = request.lazy === undefined ? undefined : new LazyLoading();
  const pages = pieces && {
    piecesOf: pieces,
    load: (pid: Pid, some: readonly StoredPiece[]) => {
      const chunks = chunksOf(some);
      if (lazy !== undefined) crew.verify(chunks);
      crew.load(chunks.map((chunk) => ({ ...chunk, pid })));
    },
  };
  const rebuild = new Rebuild(plan, { parent, keepsParent, pages, lazy });
  try {
    rebuild.buildSkeleton(request.streams);
    const pidOf = (objref: number): Pid | undefined => rebuild.pidOf(objref);
    const contentTarget = (objref: number): LocalFd | undefined => rebuild.contentTarget(objref);
    const split = lazy && ((chunks: readonly PlacedChunk[]) => lazy.split(chunks));
    input.loadPages({ pidOf, contentTarget, remaining: (objref) => rebuild.remaining(objref), split }, crew);
    const tree = rebuild.complete();
    request.onRebuilt?.(plan.pid);
    resumeTree(tree, layout, lazy);
    rebuild.release();
  } catch (error) {
    lazy?.abandon();
    rebuild.abandon();
    throw isNumberTaken(error) ? overtaken(plan, request.numbers, error) : error;
  }
  const running = summary(rebuild.remarks);
  if (lazy === undefined || request.lazy === undefined) return running;
  return { ...running, ended: loadTheRest(lazy, request.lazy, running) };
}

/** All numbers were free when the plan was made. */
const isNumberTaken = (error: unknown): error is KernelError =>
  error instanceof KernelError && error.call === 'clone3' && error.errnoName === 'EEXIST';

/** By whom, if it still is: what was made of this restart has ended. */
function overtaken({ pid }: RestartPlan, numbers: readonly number[], cause: KernelError): QuicksaveError {
  const taken = takenPids(numbers);
  const why = `The image of process ${pid} was not restarted: while it was being rebuilt another process, perhaps another restart of it, took a number that it needs.`;
  return taken.length > 0
    ? new RefusedError(why, taken)
    : new QuicksaveError('pid-in-use', why, { remedy: 'Try again.', cause });
}

/** Returns how the root has ended, if it has. */
function loadTheRest(lazy: LazyLoading, { onRunning, onPages }: LazyRestart, running: RestartSummary): End | undefined {
  try {
    onRunning(running);
    lazy.untilLoaded(onPages);
    return endOf(lazy.endOf(asTid(running.pid)));
  } catch (error) {
    lazy.abandon();
    throw endedWhileLoading(error);
  }
}

/** It ran, and whoever knows of it must be told what has become of it. */
function endedWhileLoading(error: unknown): QuicksaveError {
  const reason = error instanceof Error ? error.message : String(error);
  const remedy = error instanceof QuicksaveError ? error.remedy : undefined;
  return new QuicksaveError(
    'lazy-restart-failed',
    `The program ran already, and had to be ended, because the rest of its memory could not be loaded. ${reason}`,
    { ...(remedy === undefined ? {} : { remedy }), cause: error },
  );
}

const endOf = (event: Ended | undefined): End | undefined =>
  event && (event.kind === 'exited' ? { status: event.status } : { signal: event.signal });

function withoutInput(streams: RestartRequest['streams']): { streams: RestartRequest['streams']; close: () => void } {
  const nothing = openSync('/dev/null', 'r');
  return { streams: [nothing, streams[1], streams[2]], close: () => closeSync(nothing) };
}
