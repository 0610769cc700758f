/** How text for a person is set off, if it is at all. */

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

/** Gives the text in that style. */
export type Paint = (style: Style, text: string) => string;

/** Where colours are not wanted, or make no sense. */
export const plainly: Paint = (_, text) => text;
