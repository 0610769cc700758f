/** The memory of a process: all of it on one line to scale, without the gaps, and a row for each mapping. */
import { scaleLinear, scaleLog } from 'd3-scale';
import { select } from 'd3-selection';
import type { PageMapping, PageProcess } from '../report/page-data.ts';
import { element, onPress, sizeText } from './dom.ts';

const STRIP_WIDTH = 1150;
const STRIP_HEIGHT = 46;
const BAR_WIDTH = 260;
const BAR_HEIGHT = 13;
const PAGE = 4096;
const LARGE_GAP = 1024 * 1024;

const legend = [
  ['of-data', 'in the image'],
  ['of-changed', 'changed'],
  ['of-zero', 'zeros'],
  ['of-elsewhere', 'as in another process'],
  ['of-file', 'as in its file'],
  ['of-shared', 'shared'],
  ['of-free', 'never touched'],
] as const;

type Scale = (bytes: number) => number;

/** In an incremental image what has bytes has changed, and the rest is in its parent. */
export function drawMemory(into: HTMLElement, { mappings }: PageProcess, isIncremental: boolean): void {
  const scale = element('select', { 'aria-label': 'scale of the bars' }, [
    element('option', { value: 'linear' }, ['bars to scale']),
    element('option', { value: 'log' }, ['bars by magnitude']),
  ]);
  const items = legend.map(([name, text]) => {
    const shown = name === 'of-elsewhere' && isIncremental ? 'as in the image before' : text;
    return element('li', {}, [element('span', { class: name }), shown]);
  });
  const strip = element('div', { class: 'scroll strip' });
  const map = element('div', { class: 'map', tabindex: 0, role: 'region', 'aria-label': 'mappings' });
  into.replaceChildren(element('ul', { class: 'legend' }, [...items, element('li', {}, [scale])]), strip, map);
  const rows: HTMLElement[] = [];
  const choose = (index: number): void => {
    for (const old of into.querySelectorAll('.chosen')) old.classList.remove('chosen');
    rows[index]?.classList.add('chosen');
    rows[index]?.focus({ preventScroll: true });
    rows[index]?.scrollIntoView({ block: 'nearest' });
    strip.querySelectorAll(`[data-mapping="${index}"]`).forEach((part) => void part.classList.add('chosen'));
  };
  drawStrip(strip, mappings, isIncremental, choose);
  const redraw = (): void => drawRows(map, mappings, isIncremental, scaleNamed(scale.value, mappings), rows, choose);
  scale.addEventListener('change', redraw);
  redraw();
}

function scaleNamed(name: string, mappings: readonly PageMapping[]): Scale {
  const largest = Math.max(PAGE, ...mappings.map(({ sizeBytes }) => sizeBytes));
  const smallest = name === 'log' ? PAGE / 2 : 0;
  const made =
    name === 'log' ? scaleLog([smallest, largest], [0, BAR_WIDTH]) : scaleLinear([0, largest], [0, BAR_WIDTH]);
  return (bytes) => Math.max(1, made(Math.max(bytes, smallest)));
}

const isShared = ({ kind }: PageMapping): boolean => kind.startsWith('shared');

/** What the parts without pages of their own are. */
function restClass(mapping: PageMapping): string {
  const { kind } = mapping;
  // Of memory without a file what no chunk has was never touched.
  if (kind === 'anonymous' || kind === 'shared-object') return 'of-free';
  return isShared(mapping) ? 'of-shared' : 'of-file';
}

/** What pages of each sort are. */
function classesOf(mapping: PageMapping, isIncremental: boolean): readonly string[] {
  const isChanged = isIncremental || mapping.kind === 'private-file';
  const ofData = isShared(mapping) ? 'of-shared' : isChanged ? 'of-changed' : 'of-data';
  return [ofData, 'of-zero', 'of-elsewhere'];
}

/** Draws the parts of one mapping into a width. */
function drawParts(
  svg: SVGElement,
  mapping: PageMapping,
  isIncremental: boolean,
  { x, width, height }: { readonly x: number; readonly width: number; readonly height: number },
): void {
  // Else there are seams between parts that are next to each other.
  const group = select(svg).attr('shape-rendering', 'crispEdges');
  group.append('rect').attr('class', restClass(mapping)).attr('x', x).attr('width', width).attr('height', height);
  const classes = classesOf(mapping, isIncremental);
  const { parts } = mapping;
  const own = width / Math.max(parts.length, 1);
  const partPages = mapping.sizeBytes / PAGE / Math.max(parts.length, 1);
  parts.forEach((part, index) => {
    let place = x + index * own;
    part.forEach((pages, sort) => {
      if (pages === 0) return;
      const share = (own * pages) / partPages;
      const bar = group.append('rect').attr('class', classes[sort] ?? '');
      bar.attr('x', place).attr('width', share).attr('height', height);
      place += share;
    });
  });
}

function drawStrip(
  into: HTMLElement,
  mappings: readonly PageMapping[],
  isIncremental: boolean,
  choose: (index: number) => void,
): void {
  const total = mappings.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const x = scaleLinear([0, Math.max(total, 1)], [0, STRIP_WIDTH]);
  const svg = select(into)
    .append('svg')
    .attr('viewBox', `0 0 ${STRIP_WIDTH} ${STRIP_HEIGHT}`)
    .attr('width', '100%')
    .attr('role', 'img')
    .attr('aria-label', `${mappings.length} mappings, ${sizeText(total)}, to scale`);
  let done = 0;
  mappings.forEach((mapping, index) => {
    const group = svg.append('g');
    group.append('title').text(titleOf(mapping));
    const node = group.node();
    const width = x(mapping.sizeBytes);
    if (node !== null) drawParts(node, mapping, isIncremental, { x: x(done), width, height: STRIP_HEIGHT - 16 });
    const frame = group
      .append('rect')
      .attr('data-mapping', index)
      .attr('x', x(done))
      .attr('width', Math.max(width, 0.5));
    frame
      .attr('height', STRIP_HEIGHT - 16)
      .attr('fill', 'transparent')
      .on('click', () => choose(index));
    done += mapping.sizeBytes;
  });
  svg
    .append('text')
    .attr('class', 'soft')
    .attr('y', STRIP_HEIGHT - 3)
    .text(`${sizeText(total)} mapped, gaps left out`);
}

const titleOf = ({ start, end, label, sizeBytes, permissions }: PageMapping): string =>
  `${start}-${end} ${permissions} ${sizeText(sizeBytes)} ${label}`;

function drawRows(
  into: HTMLElement,
  mappings: readonly PageMapping[],
  isIncremental: boolean,
  scale: Scale,
  rows: HTMLElement[],
  choose: (index: number) => void,
): void {
  rows.length = 0;
  const body = element('tbody');
  let last = 0;
  mappings.forEach((mapping, index) => {
    const gap = Number(mapping.start) - last;
    if (last > 0 && gap >= LARGE_GAP) {
      body.append(element('tr', { class: 'gap' }, [element('td', { colspan: 6 }, [`${sizeText(gap)} free`])]));
    }
    last = Number(mapping.end);
    const row = rowOf(mapping, isIncremental, scale);
    row.tabIndex = index === 0 ? 0 : -1;
    onPress(row, () => choose(index));
    row.addEventListener('keydown', (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step === undefined || rows[index + step] === undefined) return;
      event.preventDefault();
      choose(index + step);
    });
    rows.push(row);
    body.append(row);
  });
  const titles = ['from', 'size', '', 'kind', 'what', 'pages'].map((text) => element('th', { scope: 'col' }, [text]));
  into.replaceChildren(element('table', {}, [element('thead', {}, [element('tr', {}, titles)]), body]));
}

function rowOf(mapping: PageMapping, isIncremental: boolean, scale: Scale): HTMLTableRowElement {
  const { start, sizeBytes, permissions, kind, label, flags } = mapping;
  const [data = 0, zero = 0, elsewhere = 0] = mapping.pages;
  const picture = element('td');
  const svg = select(picture)
    .append('svg')
    .attr('width', BAR_WIDTH)
    .attr('height', BAR_HEIGHT)
    .attr('aria-hidden', 'true');
  const node = svg.node();
  if (node !== null) drawParts(node, mapping, isIncremental, { x: 0, width: scale(sizeBytes), height: BAR_HEIGHT });
  const where = isIncremental ? 'before' : 'of another';
  const pages = [
    data > 0 ? `${data}` : '',
    zero > 0 ? `${zero} zero` : '',
    elsewhere > 0 ? `${elsewhere} ${where}` : '',
  ]
    .filter(Boolean)
    .join(' + ');
  return element('tr', { title: [titleOf(mapping), ...flags].join(' · ') }, [
    element('td', { class: 'mono' }, [start.slice(2), ' ', permissions]),
    element('td', { class: 'number' }, [sizeText(sizeBytes)]),
    picture,
    element('td', {}, [kind]),
    element('td', { class: 'name' }, [label === kind ? '' : label]),
    element('td', { class: 'number' }, [pages]),
  ]);
}
