/** The script of a report page: reads its data from the page and draws it. */
import { scaleLinear } from 'd3-scale';
import type { PageData } from '../report/page-data.ts';
import { drawGraph } from './descriptor-graph.ts';
import { element, facts, sizeText } from './dom.ts';
import { drawMemory } from './memory-map.ts';
import { drawTree } from './process-tree.ts';
import { drawThreads } from './threads.ts';
import { drawTimeline } from './timeline.ts';

const data = JSON.parse(document.getElementById('data')?.textContent ?? '') as PageData;

/** As the system has it, until the button is pressed. */
function themeButton(): HTMLButtonElement {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const button = element('button', { type: 'button' });
  const use = (theme: string): void => {
    document.documentElement.dataset['theme'] = theme;
    button.textContent = theme === 'dark' ? 'light' : 'dark';
  };
  use(system.matches ? 'dark' : 'light');
  system.addEventListener('change', ({ matches }) => use(matches ? 'dark' : 'light'));
  button.addEventListener('click', () => use(button.textContent ?? 'light'));
  return button;
}

function sizes(): HTMLElement {
  const width = scaleLinear([0, Math.max(1, ...data.sizes.map(({ bytes }) => bytes))], [0, 100]);
  const rows = data.sizes.map(({ label, bytes }) => {
    const bar = element('div', { class: 'of-data' });
    bar.style.width = `${Math.max(0.5, width(bytes))}%`;
    bar.style.height = '12px';
    const cells = [
      element('td', {}, [label]),
      element('td', { class: 'number' }, [sizeText(bytes)]),
      element('td', { class: 'bar' }, [bar]),
    ];
    cells[2]?.style.setProperty('width', '55%');
    return element('tr', {}, cells);
  });
  return element('table', {}, rows);
}

const section = (title: string, id: string): [HTMLElement, HTMLElement] => {
  const body = element('div', { id });
  return [element('section', { 'aria-label': title }, [element('h2', {}, [title]), body]), body];
};

function draw(): void {
  document.title = `quicksave: ${data.title}`;
  const [treeSection, tree] = section('Processes', 'tree');
  const [stateSection, state] = section('State', 'state');
  const [memorySection, memory] = section('Memory', 'memory');
  const [threadSection, threads] = section('Threads', 'threads');
  const [graphSection, graph] = section('Descriptors', 'graph');
  const [saveSection, save] = section('The save', 'save');
  for (const wide of [tree, graph]) wide.classList.add('scroll');
  const choose = (pid: number): void => {
    const process = data.processes.find((one) => one.pid === pid);
    if (process === undefined) return;
    for (const node of tree.querySelectorAll('.node')) {
      node.setAttribute('aria-pressed', String(node.getAttribute('data-pid') === String(pid)));
    }
    for (const [heading, text] of [
      [memorySection, 'Memory'],
      [threadSection, 'Threads'],
      [stateSection, 'State'],
    ] as const) {
      const title = heading.querySelector('h2');
      if (title !== null)
        title.textContent = data.processes.length > 1 ? `${text} of ${process.pid} ${process.comm}` : text;
    }
    state.replaceChildren(facts([['command', process.command], ...process.facts]));
    drawMemory(memory, process, data.isIncremental);
    drawThreads(threads, process);
  };
  document.body.append(
    element('header', {}, [element('h1', {}, [data.title]), themeButton()]),
    element('main', {}, [
      element('div', { class: 'columns' }, [facts(data.facts), sizes()]),
      treeSection,
      memorySection,
      graphSection,
      threadSection,
      saveSection,
      stateSection,
    ]),
  );
  drawTree(tree, data.processes, choose);
  drawGraph(graph, data);
  drawTimeline(save, data.timeline);
  choose(data.processes[0]?.pid ?? 0);
}

draw();
