/**
 * Lazy restart: which pages come when the program runs already, and that it ends with us as long as they do.
 *
 * What the kernel does not give to userfaultfd(2), and what is touched before the program runs, is loaded before: each page that a thread's registers point to, and what the kernel reads
 * or writes for a thread. That nothing else was touched is made sure of, because a page that is there is never filled.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { registerNames } from '../arch/x86/registers.ts';
import { OPEN } from '../kernel/abi/fcntl.ts';
import { FS } from '../kernel/abi/fs.ts';
import { UFFD } from '../kernel/abi/userfaultfd.ts';
import { DescriptorHolder } from '../kernel/calls/descriptor-holder.ts';
import { openFile } from '../kernel/calls/descriptors.ts';
import { tryScanPages } from '../kernel/calls/pagemap.ts';
import { tryRegister } from '../kernel/calls/userfaultfd.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import type { PlacedChunk } from '../pages/load-job.ts';
import { endOf, joinStretches, type Stretch, within, without } from '../pages/page-pieces.ts';
import { chunksOf, type StoredPiece, storedPieces } from '../pages/stored-pages.ts';
import { localFd, type Pid, type Tid } from '../support/brand.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { Span } from '../tracee/address-space.ts';
import type { Agent } from '../tracee/agent.ts';
import { makeUserfaultfd } from '../tracee/remote-userfaultfd.ts';
import { type Ended, LazyTracing } from './lazy-tracing.ts';
import { PageServer } from './page-server.ts';
import type { PlannedMapping, PlannedThread, ProcessPlan } from './process-plan.ts';

const PAGE = 4096;
/** A smaller mapping is loaded at once. */
const LEAST_MAPPING_BYTES = 256 * 1024;
/** A process with less that may come later is loaded at once: it would be traced for nothing. */
const LEAST_BYTES = 4 * 1024 * 1024;
/** Above the stack pointer so much is there when a thread begins: as much as is looked at when vDSO code of another kernel is replaced. */
const STACK_BYTES = 1 << 20;
const HUGE_PAGE = 2 * 1024 * 1024;
const ADDRESS_END = 2 ** 47;

const FEATURES =
  UFFD.UFFD_FEATURE_EVENT_FORK |
  UFFD.UFFD_FEATURE_EVENT_REMAP |
  UFFD.UFFD_FEATURE_EVENT_REMOVE |
  UFFD.UFFD_FEATURE_EVENT_UNMAP;

/** `gd`: a stack that grows. `wf`: zeros in a child, which the kernel does not tell of. */
const AT_ONCE: ReadonlySet<string> = new Set(['gd', 'wf']);

/** Private anonymous memory. What is locked is in memory at once, and what is sealed or has guards is left as it is. */
const mayComeLater = ({ made, state, bytes, locking, sealed }: PlannedMapping): boolean =>
  made !== undefined &&
  bytes === undefined &&
  state.kind === 'anonymous' &&
  state.hasPages &&
  state.end - state.start >= LEAST_MAPPING_BYTES &&
  state.guards.length === 0 &&
  locking === 'none' &&
  !sealed &&
  !state.flags.some((word) => AT_ONCE.has(word));

/** A stopped process need not run soon, what a leader does that ends is not followed, and one that has saved itself is waited for when it goes on. */
const mayRunEarly = ({ stopped, saver, endedLeader }: ProcessPlan): boolean =>
  stopped === undefined && saver === undefined && endedLeader === undefined;

interface LazyProcess {
  readonly pid: Pid;
  readonly uffd: OwnedFd;
  /** Mappings whose pages may come later; they ascend. */
  readonly mappings: readonly Span[];
  readonly atOnce: readonly Stretch[];
  later: readonly StoredPiece[];
}

export class LazyLoading {
  readonly #processes = new Map<number, LazyProcess>();
  readonly #server = new PageServer();
  readonly #tracing = new LazyTracing();
  #holder: DescriptorHolder | undefined;
  #runs = false;
  #totalBytes = 0;

  /** Its mappings stand, none of its own pages is in them yet, and its agent can still do whatever we may. */
  prepare(plan: ProcessPlan, agent: Agent): void {
    const mappings = plan.mappings.filter(mayComeLater).map(({ state: { start, end } }) => ({ start, end }));
    const bytes = mappings.reduce((sum, { start, end }) => sum + end - start, 0);
    if (!mayRunEarly(plan) || bytes < LEAST_BYTES) return;
    const uffd = makeUserfaultfd(agent, OPEN.O_NONBLOCK, FEATURES);
    if (uffd === undefined) throw notHere();
    // What it was born with is there.
    const atOnce = joinStretches([...hotStretches(plan.threads), ...presentPages(plan.pid, mappings)]);
    this.#processes.set(plan.pid, { pid: plan.pid, uffd, mappings, atOnce, later: [] });
  }

  /** Keeps what comes later, and returns what must be loaded now. */
  split(chunks: readonly PlacedChunk[]): PlacedChunk[] {
    const now: PlacedChunk[] = [];
    const byProcess = new Map<LazyProcess, PlacedChunk[]>();
    for (const chunk of chunks) {
      const process = this.#processes.get(chunk.pid);
      if (process === undefined) now.push(chunk);
      else byProcess.set(process, [...(byProcess.get(process) ?? []), chunk]);
    }
    for (const [process, own] of byProcess) now.push(...this.#splitOf(process, own));
    return now;
  }

  #splitOf(process: LazyProcess, chunks: readonly PlacedChunk[]): PlacedChunk[] {
    const all = storedPieces(chunks);
    const later = without(within(all, process.mappings), process.atOnce);
    const bytes = bytesOf(later);
    if (bytes < LEAST_BYTES) {
      this.#forget(process);
      return [...chunks];
    }
    process.later = later;
    this.#totalBytes += bytes;
    return chunksOf(without(all, later)).map((chunk) => ({ ...chunk, pid: process.pid }));
  }

  #forget({ pid, uffd }: LazyProcess): void {
    uffd.close();
    this.#processes.delete(pid);
  }

  get #isNeeded(): boolean {
    return this.#processes.size > 0;
  }

  /** All processes are complete but for these pages, and nothing is done in them any more before they run. */
  begin(): void {
    if (!this.#isNeeded) return;
    this.#holder = new DescriptorHolder();
    for (const process of this.#processes.values()) {
      const { pid, uffd, mappings, later } = process;
      for (const { start, end } of mappings) {
        if (within(later, [{ start, end }]).length === 0) continue;
        if (!tryRegister(uffd.number, start, end - start, UFFD.UFFDIO_REGISTER_MODE_MISSING)) throw notHere();
      }
      const [touched] = presentPages(
        pid,
        later.map((piece) => ({ start: piece.start, end: endOf(piece) })),
      );
      if (touched !== undefined) throw touchedEarly(pid, touched);
      this.#server.add(pid, uffd, later);
    }
  }

  /** It goes on dying with us, from its making on without a moment between, as long as pages of the tree are missing. */
  keeps(plan: ProcessPlan): boolean {
    return this.#isNeeded && mayRunEarly(plan);
  }

  /**
   * Lets a task of a process run: until all pages are there if some of the tree are missing, so that all of it ends if they do not come; else
   * `otherwise`. False if it has ended.
   */
  letRun(plan: ProcessPlan, tid: Tid, otherwise: (tid: Tid) => boolean): boolean {
    if (!this.keeps(plan)) return otherwise(tid);
    this.#runs = true;
    return this.#tracing.letRun(tid);
  }

  /**
   * Until all pages are there, or nobody is left who lacks some; then nothing of ours is left. Throws ImageError if the image turns out to be
   * damaged, or what `onPages` throws.
   */
  untilLoaded(onPages: (doneBytes: number, totalBytes: number) => void): void {
    while (!this.#server.isDone) {
      this.#tracing.look();
      this.#server.step();
      onPages(Math.min(this.#server.doneBytes, this.#totalBytes), this.#totalBytes);
      this.#renewHolder();
    }
    this.#server.close();
    this.#tracing.letGo();
    this.#endHolder();
  }

  /** Somebody may have ended it. */
  #renewHolder(): void {
    if (this.#holder !== undefined && this.#tracing.ended.has(this.#holder.tid)) this.#holder = new DescriptorHolder();
  }

  #endHolder(): void {
    if (this.#holder !== undefined && !this.#tracing.ended.has(this.#holder.tid)) this.#holder.end();
    this.#holder = undefined;
  }

  /** How a child of ours has ended meanwhile. */
  endOf(tid: Tid): Ended | undefined {
    return this.#tracing.ended.get(tid);
  }

  /** Whoever runs already is ended before his pages are given up. */
  abandon(): void {
    if (this.#runs) this.#tracing.kill();
    this.#server.close();
    for (const { uffd } of this.#processes.values()) uffd.close();
    this.#processes.clear();
    this.#endHolder();
  }
}

const bytesOf = (pieces: readonly Stretch[]): number => pieces.reduce((sum, { pages }) => sum + pages * PAGE, 0);

/** Pages of these spans that are in memory or in swap. */
function presentPages(pid: Pid, spans: readonly Span[]): Stretch[] {
  const pagemap = openFile(`/proc/${pid}/pagemap`, 0);
  const query = { all: 0, any: FS.PAGE_IS_PRESENT | FS.PAGE_IS_SWAPPED, inverted: 0, tell: 0 };
  try {
    return spans.flatMap(({ start, end }) => {
      const found = tryScanPages(localFd(pagemap.number), start, end, query);
      if (found === undefined) throw notHere();
      return found.map((region) => ({ start: region.start, pages: (region.end - region.start) / PAGE }));
    });
  } finally {
    pagemap.close();
  }
}

/** The pages around whatever is touched before the threads run, by the kernel, by us or by themselves. */
function hotStretches(threads: readonly PlannedThread[]): Stretch[] {
  const unit = mayBeHuge() ? HUGE_PAGE : PAGE;
  return threads.flatMap(({ cpu, aspects }) => {
    const pointers = [...cpu.registers, ...aspects.flatMap(({ aspect, state }) => aspect.touches?.(state) ?? [])];
    const stackPointer = cpu.registers[registerNames.indexOf('rsp')] ?? 0n;
    return [
      ...pointers.flatMap((pointer) => around(Number(pointer), PAGE, unit)),
      ...around(Number(stackPointer), STACK_BYTES, unit),
    ];
  });
}

function around(address: number, sizeBytes: number, unit: number): Stretch[] {
  if (address < PAGE || address >= ADDRESS_END) return [];
  const start = Math.floor((address - PAGE) / unit) * unit;
  const end = Math.ceil((address + sizeBytes) / unit) * unit;
  return [{ start, pages: (end - start) / PAGE }];
}

const HUGE_PAGES = '/sys/kernel/mm/transparent_hugepage';

/** Then the kernel may put a huge page, or one between, where one page is touched (admin-guide/mm/transhuge.rst). */
function mayBeHuge(): boolean {
  if (!existsSync(HUGE_PAGES)) return false;
  const folders = readdirSync(HUGE_PAGES).filter((name) => name.startsWith('hugepages-'));
  // Sizes that only shared memory can have have no setting.
  const settings = ['.', ...folders].map((name) => `${HUGE_PAGES}/${name}/enabled`).filter((path) => existsSync(path));
  return settings.some((path) => readFileSync(path, 'utf8').includes('[always]'));
}

const REMEDY = 'Restart it without --lazy.';

const notHere = (): QuicksaveError =>
  new QuicksaveError(
    'no-lazy-restart',
    'This kernel does not let pages come later, or does not let us do it (userfaultfd, PAGEMAP_SCAN).',
    {
      remedy: 'Restart it as root on Linux 6.7 or later, or without --lazy.',
    },
  );

const touchedEarly = (pid: Pid, { start }: Stretch): QuicksaveError =>
  new QuicksaveError(
    'no-lazy-restart',
    `The page at 0x${start.toString(16)} of process ${pid} was touched before it was loaded.`,
    {
      remedy: REMEDY,
    },
  );
