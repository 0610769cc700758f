/** The script of a restart: read image -> plan -> rebuild -> resume. */
import { closeSync, openSync } from 'node:fs';
import { imagesBeside } from '../image/image-folder.ts';
import { openInput } from '../image/image-source.ts';
import type { ImageAccess } from '../image/protection.ts';
import type { ImageInput } from '../pages/image-input.ts';
import { readImage } from '../pages/open-image.ts';
import { PageCrew } from '../pages/page-crew.ts';
import { chunksOf, type StoredPiece } from '../pages/stored-pages.ts';
import type { LocalFd, Pid } from '../support/brand.ts';
import { sideOf } from './command-states.ts';
import { lookAtHost } from './host.ts';
import { numbersOf, planRestart, type RestartPlan } from './plan.ts';
import { Rebuild } from './rebuild.ts';
import { resumeTree } from './resume.ts';
import { awaitReaping } from './zombies.ts';

export interface RestartRequest {
  /** A file's name, or `-` for standard input. */
  readonly source: string;
  readonly acceptChangedFiles: boolean;
  /** The folder where the parents of an incremental image are; undefined: that of the image. */
  readonly images?: string | undefined;
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
}

export interface RestartSummary {
  /** Of the root. */
  readonly pid: Pid;
  readonly processes: number;
  /** Of all processes. */
  readonly threads: number;
  readonly totalMs: number;
  readonly remarks: readonly string[];
}

/** Brings the process back, running. */
export function restart(request: RestartRequest): RestartSummary {
  const started = performance.now();
  const { access } = request;
  const opened = openInput(request.source, { access });
  const crew = new PageCrew(opened.sizeBytes ?? 0, request.onPages);
  let input: ImageInput | undefined;
  try {
    const host = lookAtHost(request);
    input = readImage(opened, crew, {
      find: imagesBeside(request.source, request.images, access),
      side: () => sideOf(host),
      loads: true,
    });
    awaitReaping(numbersOf(input.model));
    const plan = planRestart(input.model, host);
    // A stream that is standard input is used up by the image: the program gets nothing from it.
    const streams = request.source === '-' ? withoutInput(request.streams) : undefined;
    request.onPlanned?.(plan.pid);
    try {
      rebuildAndResume({ ...request, streams: streams?.streams ?? request.streams }, plan, input, crew, host.layout);
    } finally {
      streams?.close();
    }
    return {
      pid: plan.pid,
      processes: plan.processes.length,
      threads: plan.processes.reduce((sum, { threads }) => sum + threads.length, 0),
      totalMs: performance.now() - started,
      remarks: plan.remarks,
    };
  } finally {
    input?.close();
    opened.close();
    crew.dismiss();
  }
}

function rebuildAndResume(
  request: RestartRequest,
  plan: RestartPlan,
  input: ImageInput,
  crew: PageCrew,
  layout: Parameters<typeof resumeTree>[1],
): void {
  const { parent, keepsParent } = request;
  const { pieces } = input;
  const pages = pieces && {
    piecesOf: pieces,
    load: (pid: Pid, some: readonly StoredPiece[]) => crew.load(chunksOf(some).map((chunk) => ({ ...chunk, pid }))),
  };
  const rebuild = new Rebuild(plan, { parent, keepsParent, pages });
  try {
    rebuild.buildSkeleton(request.streams);
    const pidOf = (objref: number): Pid | undefined => rebuild.pidOf(objref);
    const contentTarget = (objref: number): LocalFd | undefined => rebuild.contentTarget(objref);
    input.loadPages({ pidOf, contentTarget, remaining: (objref) => rebuild.remaining(objref) }, crew);
    const tree = rebuild.complete();
    request.onRebuilt?.(plan.pid);
    resumeTree(tree, layout);
    rebuild.release();
  } catch (error) {
    rebuild.abandon();
    throw error;
  }
}

function withoutInput(streams: RestartRequest['streams']): { streams: RestartRequest['streams']; close: () => void } {
  const nothing = openSync('/dev/null', 'r');
  return { streams: [nothing, streams[1], streams[2]], close: () => closeSync(nothing) };
}
