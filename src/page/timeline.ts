/** The steps of the save, to scale: all of it, and below the part in which the programs stood still, enlarged. */
import { type ScaleLinear, scaleLinear } from 'd3-scale';
import { select } from 'd3-selection';
import type { PageStep, PageTimeline } from '../report/page-data.ts';
import { element } from './dom.ts';

const WIDTH = 1150;
const LABELS = 90;
const LANE = 26;
const BAR = 18;
const AXIS = 20;
/** A letter of a label is about so wide. */
const LETTER = 7;
/** What is written on these has the colour of the ground. */
const DARK = ['step-1', 'step-2', 'step-still'];

const untold = 'The image does not tell when the steps of its save were over.';

export function drawTimeline(into: HTMLElement, timeline: PageTimeline | undefined): void {
  if (timeline === undefined) {
    into.append(element('p', {}, [untold]));
    return;
  }
  const { steps, pause } = timeline;
  const endUs = Math.max(1, pause?.endUs ?? 0, ...steps.map((step) => step.endUs));
  const [first] = steps;
  const standing = { startUs: first?.endUs ?? 0, endUs: pause?.endUs ?? endUs };
  into.append(stripOf(timeline, { startUs: 0, endUs }, endUs, 'The save'));
  if (pause !== undefined) {
    into.append(
      element('p', { class: 'soft' }, [`The pause of ${pause.text}, enlarged`]),
      stripOf(timeline, standing, endUs, 'The pause'),
    );
  }
  const rows = [...steps, ...(pause === undefined ? [] : [pause])].map(({ name, startUs, text }) =>
    element('tr', {}, [
      element('td', {}, [name]),
      element('td', { class: 'number' }, [`at ${inMilliseconds(startUs)}`]),
      element('td', { class: 'number' }, [text]),
      element('td', {}, [meanings[name] ?? '']),
    ]),
  );
  into.append(element('table', { class: 'steps' }, rows));
}

const meanings: Readonly<Record<string, string>> = {
  'look ahead': 'what stands in the way is looked for while the programs run',
  freeze: 'every thread is stopped',
  collect: 'registers, mappings, descriptors and all else but the pages',
  'secure pages': 'copied, or kept in a snapshot by fork(2): what the programs write now does not change the image',
  copy: 'the pages go into the image',
  pause: 'the programs stand still',
};

type Span = Pick<PageStep, 'startUs' | 'endUs'>;
type Scale = ScaleLinear<number, number>;

function stripOf({ steps, pause }: PageTimeline, shown: Span, wholeUs: number, title: string): HTMLElement {
  const scale = scaleLinear([shown.startUs, Math.max(shown.endUs, shown.startUs + 1)], [LABELS, WIDTH - 2]).clamp(true);
  const height = 2 * LANE + AXIS;
  const svg = element('div', { class: 'scroll' });
  const root = select(svg)
    .append('svg')
    .attr('viewBox', `0 0 ${WIDTH} ${height}`)
    .attr('width', WIDTH)
    .attr('role', 'img')
    .attr('aria-label', `${title}: ${steps.map(({ name, text }) => `${name} ${text}`).join(', ')}`);
  const group = root.node();
  if (group === null) return svg;
  const [first] = steps;
  const stopped = first?.endUs ?? 0;
  const runs = { name: 'run', startUs: 0, endUs: stopped, text: '' };
  const stands = { name: 'stand still', startUs: stopped, endUs: pause?.endUs ?? wholeUs, text: '' };
  const goesOn = pause === undefined ? [] : [{ name: 'run', startUs: pause.endUs, endUs: wholeUs, text: '' }];
  drawLane(group, 0, 'quicksave', steps, shown, scale, (_, index) => `step-${index}`);
  drawLane(group, LANE, 'programs', [runs, stands, ...goesOn], shown, scale, ({ name }) =>
    name === 'run' ? 'step-run' : 'step-still',
  );
  drawAxis(group, scale, shown);
  return svg;
}

function drawLane(
  svg: SVGElement,
  y: number,
  label: string,
  steps: readonly PageStep[],
  shown: Span,
  scale: Scale,
  classOf: (step: PageStep, index: number) => string,
): void {
  const group = select(svg);
  group
    .append('text')
    .attr('class', 'soft')
    .attr('x', 0)
    .attr('y', y + 14)
    .text(label);
  steps.forEach((step, index) => {
    if (step.endUs <= shown.startUs || step.startUs >= shown.endUs) return;
    const [x, end] = [scale(step.startUs), scale(step.endUs)];
    const width = Math.max(1, end - x);
    const kind = classOf(step, index);
    const bar = group.append('rect').attr('class', `step ${kind}`);
    bar.attr('x', x).attr('y', y).attr('width', width).attr('height', BAR);
    bar.append('title').text(step.text === '' ? step.name : `${step.name}, ${step.text}`);
    const text = [`${step.name} ${step.text}`.trim(), step.name].find((one) => one.length * LETTER + 8 <= width);
    if (text === undefined) return;
    const name = group
      .append('text')
      .attr('x', x + 5)
      .attr('y', y + 13)
      .text(text);
    if (DARK.includes(kind)) name.attr('class', 'inverse');
  });
}

/** In milliseconds since the save began. */
function drawAxis(svg: SVGElement, scale: Scale, { startUs, endUs }: Span): void {
  const group = select(svg);
  const inMs = scaleLinear([startUs / 1000, endUs / 1000], scale.range());
  for (const tick of inMs.ticks(8)) {
    const x = inMs(tick);
    group
      .append('line')
      .attr('class', 'tick')
      .attr('x1', x)
      .attr('x2', x)
      .attr('y1', 0)
      .attr('y2', 2 * LANE);
    // The last one would end outside.
    const anchor = x > WIDTH - 60 ? 'end' : x < LABELS + 30 ? 'start' : 'middle';
    group
      .append('text')
      .attr('class', 'soft')
      .attr('x', x)
      .attr('y', 2 * LANE + 14)
      .attr('text-anchor', anchor)
      .text(`${tick} ms`);
  }
}

const inMilliseconds = (us: number): string => `${(us / 1000).toFixed(1)} ms`;
