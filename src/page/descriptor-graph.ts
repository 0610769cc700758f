/**
 * Who is connected to whom: processes at the left, what they have open in the middle, the world outside at the right. Objects that are
 * ends of one thing, or that watch each other, are joined.
 */
import { select } from 'd3-selection';
import { linkHorizontal } from 'd3-shape';
import type { PageData, PageObject } from '../report/page-data.ts';
import { onPress, shortened } from './dom.ts';

const WIDTH = 1150;
const ROW = 34;
const HEIGHT = 26;
const LEFT = { x: 2, width: 210 };
const MIDDLE = { x: 420, width: 380 };
const RIGHT = { x: 960, width: 180 };
/** A letter is about so wide. */
const LETTER = 6.6;
/** What more there is would not be seen. */
const MAX_OBJECTS = 300;

export function drawGraph(into: HTMLElement, { processes, objects }: PageData): void {
  const shown = ordered(objects).slice(0, MAX_OBJECTS);
  const rows = Math.max(shown.length, processes.length, 1);
  const svg = select(into)
    .append('svg')
    .attr('viewBox', `0 0 ${WIDTH} ${rows * ROW + 4}`)
    .attr('width', WIDTH)
    .attr('role', 'group')
    .attr('aria-label', 'descriptors of the processes');
  const links = svg.append('g');
  const line = linkHorizontal<unknown, [number, number]>();
  const objectY = new Map(shown.map(({ object }, index) => [object, 2 + index * ROW]));
  const processY = new Map(
    processes.map(({ pid }, index) => [pid, 2 + ((index + 0.5) * rows * ROW) / processes.length - ROW / 2]),
  );
  const light = (key: string): void => {
    for (const node of into.querySelectorAll('.node'))
      node.setAttribute('aria-pressed', String(node.getAttribute('data-key') === key));
    for (const link of into.querySelectorAll('.link')) {
      link.classList.toggle('lit', (link.getAttribute('data-keys') ?? '').split(' ').includes(key));
    }
  };
  const connect = (path: string | null, keys: string, kind: string, title: string): void => {
    links
      .append('path')
      .attr('class', `link ${kind}`)
      .attr('data-keys', keys)
      .attr('d', path)
      .append('title')
      .text(title);
  };
  /** `first`: what of the text is never cut off. */
  const box = (
    place: typeof LEFT,
    y: number,
    key: string,
    kind: string,
    text: string,
    title: string,
    first = '',
  ): void => {
    const group = svg.append('g').attr('class', `node ${kind}`).attr('data-key', key).attr('role', 'button');
    group.attr('tabindex', 0).attr('aria-pressed', 'false').attr('aria-label', title);
    group.attr('transform', `translate(${place.x},${y})`);
    group.append('title').text(title);
    group.append('rect').attr('width', place.width).attr('height', HEIGHT).attr('rx', 6);
    group
      .append('text')
      .attr('x', 10)
      .attr('y', 17)
      .text(first + shortened(text, Math.floor(place.width / LETTER) - first.length));
    const node = group.node();
    if (node !== null) onPress(node, () => light(key));
  };
  for (const { pid, comm, descriptors } of processes) {
    const y = processY.get(pid) ?? 0;
    box(LEFT, y, `p${pid}`, 'process', `${pid} ${comm}`, `process ${pid} ${comm}, ${descriptors.length} descriptors`);
    for (const [object, fds] of byObject(descriptors)) {
      const at = objectY.get(object);
      if (at === undefined) continue;
      const target: [number, number] = [MIDDLE.x, at + HEIGHT / 2];
      const path = line({ source: [LEFT.x + LEFT.width, y + HEIGHT / 2], target });
      connect(path, `p${pid} o${object}`, '', `${pid}: descriptor ${fds.join(', ')}`);
    }
  }
  const joined = new Set<string>();
  for (const one of shown) {
    const y = objectY.get(one.object) ?? 0;
    const holders = processes.flatMap(({ descriptors }) => descriptors.filter(({ object }) => object === one.object));
    const numbers = [...new Set(holders.map(({ fd }) => fd))].join(', ');
    const text = one.label === one.kind ? one.kind : `${one.kind.replace(/-socket$/, '')} ${one.label}`;
    box(MIDDLE, y, `o${one.object}`, 'object', text, `${text}, descriptor ${numbers}`, `${numbers}: `);
    if (one.outside !== undefined) {
      box(RIGHT, y, `x${one.object}`, 'outside', one.outside, `outside of what was saved: ${one.outside}`);
      const path = line({ source: [MIDDLE.x + MIDDLE.width, y + HEIGHT / 2], target: [RIGHT.x, y + HEIGHT / 2] });
      connect(path, `o${one.object} x${one.object}`, 'out', 'leaves the tree');
    }
    for (const end of one.ends) {
      const other = objectY.get(end);
      const pair = [one.object, end].sort((a, b) => a - b).join(' ');
      if (other === undefined || joined.has(pair)) continue;
      joined.add(pair);
      connect(arc(y + HEIGHT / 2, other + HEIGHT / 2), `o${one.object} o${end}`, 'end', 'belong together');
    }
  }
  if (objects.length > shown.length) {
    into.append(`${objects.length - shown.length} more are not drawn.`);
  }
}

/** At the right of the middle column, out as far as the two are apart. */
function arc(from: number, to: number): string {
  const x = MIDDLE.x + MIDDLE.width;
  const out = Math.min(140, 24 + Math.abs(to - from) / 3);
  return `M${x},${from}C${x + out},${from} ${x + out},${to} ${x},${to}`;
}

/** What connects first, what is only a file last. */
function ordered(objects: readonly PageObject[]): PageObject[] {
  const rank = ({ outside, ends, kind }: PageObject): number =>
    outside !== undefined ? 0 : ends.length > 0 ? 1 : kind.includes('file') ? 3 : 2;
  return [...objects].sort((a, b) => rank(a) - rank(b));
}

function byObject(descriptors: PageData['processes'][number]['descriptors']): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (const { fd, object } of descriptors) found.set(object, [...(found.get(object) ?? []), fd]);
  return found;
}
