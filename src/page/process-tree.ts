/** The process tree, from left to right. A node is a button: it chooses the process that the rest of the page shows. */
import { type HierarchyPointNode, hierarchy, tree } from 'd3-hierarchy';
import { select } from 'd3-selection';
import { linkHorizontal } from 'd3-shape';
import type { PageProcess } from '../report/page-data.ts';
import { onPress, shortened } from './dom.ts';

const NODE_WIDTH = 210;
const NODE_HEIGHT = 40;
const COLUMN = 270;
const ROW = 52;

interface Branch {
  readonly process: PageProcess | undefined;
  readonly children: Branch[];
}

/** Roots of their own hang below one that is not drawn. */
function branchesOf(processes: readonly PageProcess[]): Branch {
  const pids = new Set(processes.map(({ pid }) => pid));
  const seen = new Set<number>();
  const below = (process: PageProcess): Branch => {
    seen.add(process.pid);
    const children = processes.filter(({ pid, parent }) => parent === process.pid && !seen.has(pid));
    return { process, children: children.map(below) };
  };
  const isRoot = ({ parent }: PageProcess): boolean => parent === undefined || !pids.has(parent);
  const roots = processes.filter(isRoot).map(below);
  const others = processes.filter(({ pid }) => !seen.has(pid)).map((process) => ({ process, children: [] }));
  return { process: undefined, children: [...roots, ...others] };
}

export function drawTree(into: HTMLElement, processes: readonly PageProcess[], choose: (pid: number) => void): void {
  const layout = tree<Branch>().nodeSize([ROW, COLUMN])(hierarchy(branchesOf(processes)));
  const nodes = layout.descendants().filter(({ data }) => data.process !== undefined);
  const top = Math.min(...nodes.map(({ x }) => x));
  const left = Math.min(...nodes.map(({ y }) => y));
  const width = Math.max(...nodes.map(({ y }) => y)) - left + NODE_WIDTH + 4;
  const height = Math.max(...nodes.map(({ x }) => x)) - top + NODE_HEIGHT + 4;
  const svg = select(into)
    .append('svg')
    .attr('width', width)
    .attr('height', height)
    .attr('role', 'group')
    .attr('aria-label', 'process tree');
  const x = (node: HierarchyPointNode<Branch>): number => node.y - left + 2;
  const y = (node: HierarchyPointNode<Branch>): number => node.x - top + 2 + NODE_HEIGHT / 2;
  const line = linkHorizontal<unknown, [number, number]>();
  for (const { source, target } of layout.links()) {
    if (source.data.process === undefined) continue;
    const path = line({ source: [x(source) + NODE_WIDTH, y(source)], target: [x(target), y(target)] });
    svg.append('path').attr('class', 'link').attr('d', path);
  }
  for (const node of nodes) {
    const { process } = node.data;
    if (process === undefined) continue;
    const threads = process.threads.length === 1 ? '1 thread' : `${process.threads.length} threads`;
    const group = svg
      .append('g')
      .attr('class', 'node process')
      .attr('data-pid', process.pid)
      .attr('role', 'button')
      .attr('tabindex', 0)
      .attr('aria-label', `process ${process.pid}, ${process.comm}, ${threads}`)
      .attr('transform', `translate(${x(node)},${y(node) - NODE_HEIGHT / 2})`);
    group.append('title').text(process.command);
    group.append('rect').attr('width', NODE_WIDTH).attr('height', NODE_HEIGHT).attr('rx', 6);
    group.append('text').attr('x', 10).attr('y', 17).text(shortened(process.comm, 26));
    group.append('text').attr('class', 'soft').attr('x', 10).attr('y', 33).text(`${process.pid} · ${threads}`);
    const place = group.node();
    if (place !== null) onPress(place, () => choose(process.pid));
  }
}
