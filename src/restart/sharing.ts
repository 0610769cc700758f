/**
 * Which processes are born with the memory of their parents, so that they share pages copy-on-write as they did: only fork(2) makes that, and each
 * address of the parent has one page when it forks. So the plan says what is in a parent at its children's births. That is what
 * is its own, or where nobody else has that, what several of its descendants have in common: the parent gets its own page over it afterwards, and
 * a child that has something else its own. A page is known by its place in the image.
 */
import type { Step } from '../image/hierarchy.ts';
import { endOf, joinStretches, type Stretch, within, without } from '../pages/page-pieces.ts';
import { type StoredPiece, samePages } from '../pages/stored-pages.ts';
import type { Span } from '../tracee/address-space.ts';
import { ownersInOrder, ownersOf } from './memory-owners.ts';
import type { PlannedMapping, ProcessPlan } from './process-plan.ts';

const PAGE = 4096;

/** What has to be done with the pages that a memory has, so that it has others. */
export interface PageChange {
  readonly load: readonly StoredPiece[];
  readonly drop: readonly Stretch[];
}

/** A mapping that a process is born with. */
export interface KeptMapping {
  readonly start: number;
  /** Where it ends when the process is born, and where it has to. */
  readonly bornEnd: number;
  readonly end: number;
}

export interface MemorySharing {
  /** Undefined: it begins with no memory of its parent's. */
  readonly born: { readonly parent: number; readonly kept: readonly KeptMapping[] } | undefined;
  /** What it must have before children are born with its memory; undefined if there are none. */
  readonly before: { readonly mappings: readonly PlannedMapping[]; readonly pages: PageChange } | undefined;
  /** What is left to be done when all are born. */
  readonly rest: PageChange;
}

interface Heir {
  readonly plan: ProcessPlan;
  readonly own: readonly StoredPiece[];
  readonly kept: readonly KeptMapping[];
}

/** By pid, of the owners of memories. `all`: each behind its parent; `piecesOf`: the pages of a memory. */
export function planSharing(
  all: readonly ProcessPlan[],
  steps: readonly Step[],
  piecesOf: (memory: number) => readonly StoredPiece[],
): Map<number, MemorySharing> {
  const owners = ownersOf(all, steps);
  const processes = ownersInOrder(all, owners);
  const pieces = new Map(processes.map(({ pid, memory }) => [pid as number, piecesOf(memory)]));
  const ownOf = (pid: number): readonly StoredPiece[] => pieces.get(pid) ?? [];
  const ownerOf = new Map(all.map(({ pid, memory }) => [pid as number, owners.get(memory) ?? pid]));
  const makers = makersIn(steps, ownerOf);
  const born = new Map<number, { parent: number; kept: readonly KeptMapping[]; pages: readonly StoredPiece[] }>();
  const found = new Map<number, MemorySharing>();
  for (const parent of processes) {
    const own = ownOf(parent.pid);
    const inherited = born.get(parent.pid)?.pages ?? [];
    const candidates = processes
      .filter(({ pid }) => makers.get(pid) === parent.pid)
      .map((plan) => ({ plan, own: ownOf(plan.pid), kept: keptMappings(parent, plan) }))
      .filter(({ kept }) => kept.length > 0);
    const bequest = candidates.length === 0 ? undefined : planBequest(parent, own, inherited, candidates);
    for (const { plan, kept } of bequest?.heirs ?? []) {
      born.set(plan.pid, { parent: parent.pid, kept, pages: within(bequest?.inPlace ?? [], kept.map(common)) });
    }
    found.set(parent.pid, {
      born: born.get(parent.pid),
      before: bequest && { mappings: bequest.mappings, pages: change(inherited, bequest.inPlace) },
      rest: change(bequest?.inPlace ?? inherited, own),
    });
  }
  return found;
}

/** By pid, the owner of the memory that whoever makes a process as its child has. Those that others make for a parent are born without memory. */
const makersIn = (steps: readonly Step[], ownerOf: ReadonlyMap<number, number>): Map<number, number> =>
  new Map(
    steps.flatMap((step) =>
      step.what === 'make' && !step.asSibling ? [[step.pid, ownerOf.get(step.maker) ?? step.maker]] : [],
    ),
  );

interface Bequest {
  readonly heirs: readonly Heir[];
  readonly mappings: readonly PlannedMapping[];
  /** Pages of the parent when its children are born. */
  readonly inPlace: readonly StoredPiece[];
}

function planBequest(
  parent: ProcessPlan,
  own: readonly StoredPiece[],
  inherited: readonly StoredPiece[],
  candidates: readonly Heir[],
): Bequest | undefined {
  const best = mostShared(own, [inherited, ...candidates.slice(0, 1).map((eldest) => eldest.own)], candidates);
  const heirs = candidates.filter((heir) => samePages(heir.own, within(best, heir.kept.map(common))).length > 0);
  if (heirs.length === 0) return undefined;
  const starts = new Set(heirs.flatMap(({ kept }) => kept.map(({ start }) => start)));
  const mappings = parent.mappings.filter(({ state }) => starts.has(state.start));
  const spans = mappings.map(({ state }) => state);
  const elsewhere = without(inherited, spans.map(asStretch));
  return { heirs, mappings, inPlace: ascending([...within(best, spans), ...elsewhere]) };
}

/** `own`, with pages of `others` where more heirs share those. */
function mostShared(
  own: readonly StoredPiece[],
  others: readonly (readonly StoredPiece[])[],
  heirs: readonly Heir[],
): readonly StoredPiece[] {
  let best = own;
  for (const other of others) {
    const sharedWith = (pieces: readonly StoredPiece[]): Stretch[] =>
      joinStretches(heirs.flatMap((heir) => (heir.own === pieces ? [] : samePages(heir.own, pieces))));
    const gained = withoutStretches(sharedWith(other), sharedWith(best));
    if (gained.length > 0) best = ascending([...without(best, gained), ...within(other, gained.map(asSpan))]);
  }
  return best;
}

/** From the pages that are there to those that are to be there. */
const change = (from: readonly StoredPiece[], to: readonly StoredPiece[]): PageChange => ({
  load: without(to, samePages(to, from)),
  drop: withoutStretches(from, to),
});

/** Mappings of a child that its parent has at the same place, made in the same way. */
function keptMappings(parent: ProcessPlan, child: ProcessPlan): KeptMapping[] {
  if (parent.is32Bit !== child.is32Bit || parent.layoutBits !== child.layoutBits) return [];
  const byStart = new Map(parent.mappings.map((mapping) => [mapping.state.start, mapping]));
  return child.mappings.flatMap((mapping) => {
    const { start, end } = mapping.state;
    const theirs = byStart.get(start);
    if (theirs === undefined || !isMadeAlike(mapping, theirs)) return [];
    return [{ start, bornEnd: theirs.state.end, end }];
  });
}

/** `gd`: memory that grows downwards can only be made to end elsewhere by what grows it. */
function isMadeAlike(one: PlannedMapping, other: PlannedMapping): boolean {
  const { made, state } = one;
  if (made === undefined || other.made === undefined || made.nameless || !isPrivate(one)) return false;
  const isOfPages = [one, other].every((mapping) => mapping.state.hasPages && mapping.bytes === undefined);
  const endsAlike = state.end === other.state.end || !state.flags.includes('gd');
  const isOfOneKind = made.flags === other.made.flags && made.file === other.made.file;
  return isOfPages && endsAlike && isOfOneKind && state.offset === other.state.offset;
}

const isPrivate = ({ state: { kind } }: PlannedMapping): boolean => kind === 'anonymous' || kind === 'private-file';

/** What it has of it from its birth. */
const common = ({ start, bornEnd, end }: KeptMapping): Span => ({ start, end: Math.min(bornEnd, end) });

const asStretch = ({ start, end }: Span): Stretch => ({ start, pages: (end - start) / PAGE });
const asSpan = (stretch: Stretch): Span => ({ start: stretch.start, end: endOf(stretch) });

const ascending = (pieces: readonly StoredPiece[]): StoredPiece[] => [...pieces].sort((a, b) => a.start - b.start);

const withoutStretches = (all: readonly Stretch[], some: readonly Stretch[]): Stretch[] =>
  joinStretches(
    without(
      all.map(({ start, pages }) => ({ start, pages, offset: undefined })),
      some,
    ),
  );
