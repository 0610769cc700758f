/** Making elements. Text is always set as text: names in an image are not trusted. */

export type Attributes = Readonly<Record<string, string | number>>;

export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  children: readonly (Node | string)[] = [],
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

export function facts(pairs: readonly (readonly [string, string])[]): HTMLElement {
  const cells = pairs.flatMap(([name, value]) => [element('dt', {}, [name]), element('dd', {}, [value])]);
  return element('dl', { class: 'facts' }, cells);
}

/** Enter and space do what a click does. */
export function onPress(target: Element, press: () => void): void {
  target.addEventListener('click', press);
  target.addEventListener('keydown', (event) => {
    const { key } = event as KeyboardEvent;
    if (key !== 'Enter' && key !== ' ') return;
    event.preventDefault();
    press();
  });
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

export const shortened = (text: string, length: number): string =>
  text.length <= length ? text : `…${text.slice(1 - length)}`;
