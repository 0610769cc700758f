/** The pages of the processes of a tree, where they can be read: what relatives have of each other is written once. */

import { namedRelatives } from '../image/relatives.ts';
import type { TaskRecord } from '../image/tree.ts';
import { byObject, haveCommonPages, joinStretches, type Stretch } from '../pages/page-pieces.ts';
import { encodeRelative, type ReadablePages, type Relative } from '../pages/relative-pages.ts';
import { PAGE } from '../pages/save-job.ts';
import type { PageSource } from './page-sources.ts';

/** By memory: its relatives that have pages at addresses where it has some. A program that execve(2) has begun has its memory elsewhere, as a rule. */
export function relativesIn(
  tasks: readonly TaskRecord[],
  sources: readonly PageSource[],
): Map<number, readonly number[]> {
  const ranges = new Map<number, readonly Stretch[]>();
  for (const [objref, own] of byObject(sources)) {
    ranges.set(objref, joinStretches(own.flatMap(({ plan }) => plan.chunks.flatMap((chunk) => chunk.ranges))));
  }
  const rangesOf = (objref: number): readonly Stretch[] => ranges.get(objref) ?? [];
  return new Map(
    [...namedRelatives(tasks)].map(([objref, relatives]) => [
      objref,
      relatives.filter((relative) => haveCommonPages(rangesOf(objref), rangesOf(relative))),
    ]),
  );
}

/** By memory; `named`: its relatives, `parents`: what the parent image has of a memory. */
export function readableRelatives(
  named: ReadonlyMap<number, readonly number[]>,
  sources: readonly PageSource[],
  parents: ReadonlyMap<number, SharedArrayBuffer>,
): Map<number, readonly Relative[]> {
  const known = new Map<number, Relative>();
  const relative = (objref: number): Relative => {
    const seen = known.get(objref);
    if (seen !== undefined) return seen;
    const own = sources.filter((source) => source.objref === objref);
    const one = { pages: encodeRelative(own.flatMap(readablePages)), parent: parents.get(objref) };
    known.set(objref, one);
    return one;
  };
  return new Map([...named].map(([objref, relatives]) => [objref, relatives.map(relative)]));
}

function readablePages({ plan, copy, memory }: PageSource): ReadablePages[] {
  const found: ReadablePages[] = [];
  let address: number = copy;
  for (const { ranges, unchanged } of plan.chunks) {
    for (const { start, pages } of ranges) {
      if (unchanged) found.push({ start, pages, from: { kind: 'parent-image' } });
      else if (copy === 0) found.push({ start, pages, from: { kind: 'memory', fd: memory } });
      else found.push({ start, pages, from: { kind: 'copy', address } });
      if (copy !== 0) address += pages * PAGE;
    }
  }
  return found;
}
