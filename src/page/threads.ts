/** The threads of a process: where each stood, and its registers. */
import type { PageProcess, PageThread } from '../report/page-data.ts';
import { element, facts } from './dom.ts';

export function drawThreads(into: HTMLElement, { threads }: PageProcess): void {
  const options = threads.map(({ tid, name, call }, index) =>
    element('option', { value: index }, [`${tid} ${name ?? ''} · ${call.split('(')[0]}`]),
  );
  const choice = element('select', { 'aria-label': 'thread' }, options);
  const shown = element('div');
  const draw = (): void => {
    const thread = threads[Number(choice.value)];
    shown.replaceChildren(...(thread === undefined ? [] : threadParts(thread)));
  };
  choice.addEventListener('change', draw);
  into.replaceChildren(choice, shown);
  draw();
}

function threadParts({ call, place, registers, eflags, stack }: PageThread): HTMLElement[] {
  const values = Object.entries(registers).map(([name, value]) =>
    element('div', { class: 'mono' }, [element('span', {}, [name]), value]),
  );
  const standing = facts([
    ['in', call],
    ...(place === undefined ? [] : [['at', place] as const]),
    ['flags', eflags.join(' ')],
  ]);
  if (stack.length === 0) return [standing, element('div', { class: 'registers' }, values)];
  const rows = stack.map(({ at, address, place: name }) =>
    element(
      'tr',
      {},
      [at, address, name].map((text) => element('td', { class: 'mono' }, [text])),
    ),
  );
  const title = element('p', {}, ['Return addresses on its stack, as found there:']);
  return [
    standing,
    element('div', { class: 'registers' }, values),
    title,
    element('div', { class: 'scroll' }, [element('table', {}, rows)]),
  ];
}
