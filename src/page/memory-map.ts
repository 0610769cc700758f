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
  ['of-zero', 'zeros'],
  ['of-file', 'as in its file'],
  ['of-shared', 'shared'],
  ['of-free', 'never touched'],
] as const;

type Scale = (bytes: number) => number;

export function drawMemory(into: HTMLElement, { mappings }: PageProcess): void {
  const scale = element('select', { 'aria-label': 'scale of the bars' }, [
    element('option', { value: 'linear' }, ['bars to scale']),
    element('option', { value: 'log' }, ['bars by magnitude']),
  ]);
  const items = legend.map(([name, text]) => element('li', {}, [element('span', { class: name }), text]));
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
  drawStrip(strip, mappings, choose);
  const redraw = (): void => drawRows(map, mappings, scaleNamed(scale.value, mappings), rows, choose);
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

/** What the parts without pages of their own are. */
function restClass({ shared, kind, dataPages, zeroPages }: PageMapping): string {
  if (shared) return 'of-shared';
  if (kind.includes('file') || kind === 'kernel') return 'of-file';
  return dataPages + zeroPages > 0 || kind === 'anonymous' ? 'of-free' : 'of-file';
}

/** Draws the parts of one mapping into a width. */
function drawParts(svg: SVGElement, mapping: PageMapping, x: number, width: number, height: number): void {
  const group = select(svg);
  group.append('rect').attr('class', restClass(mapping)).attr('x', x).attr('width', width).attr('height', height);
  const count = mapping.parts.length / 2;
  const partPages = mapping.sizeBytes / PAGE / Math.max(count, 1);
  for (let part = 0; part < count; part++) {
    const data = (mapping.parts[part * 2] ?? 0) / partPages;
    const zero = (mapping.parts[part * 2 + 1] ?? 0) / partPages;
    const place = x + (part * width) / count;
    const own = width / count;
    if (data > 0)
      group
        .append('rect')
        .attr('class', 'of-data')
        .attr('x', place)
        .attr('width', own * data)
        .attr('height', height);
    if (zero > 0) {
      group
        .append('rect')
        .attr('class', 'of-zero')
        .attr('x', place + own * data)
        .attr('width', own * zero)
        .attr('height', height);
    }
  }
}

function drawStrip(into: HTMLElement, mappings: readonly PageMapping[], choose: (index: number) => void): void {
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
    if (node !== null) drawParts(node, mapping, x(done), width, STRIP_HEIGHT - 16);
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
    const row = rowOf(mapping, scale);
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

function rowOf(mapping: PageMapping, scale: Scale): HTMLTableRowElement {
  const { start, sizeBytes, permissions, kind, label, flags, dataPages, zeroPages } = mapping;
  const picture = element('td');
  const svg = select(picture)
    .append('svg')
    .attr('width', BAR_WIDTH)
    .attr('height', BAR_HEIGHT)
    .attr('aria-hidden', 'true');
  const node = svg.node();
  if (node !== null) drawParts(node, mapping, 0, scale(sizeBytes), BAR_HEIGHT);
  const pages = [dataPages > 0 ? `${dataPages}` : '', zeroPages > 0 ? `${zeroPages} zero` : '']
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
