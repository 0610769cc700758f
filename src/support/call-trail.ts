/**
 * What was done last, for `--debug`: the newest calls into the kernel and inside stopped tasks. Nothing is kept, and nothing costs
 * anything, until {@link startCallTrail} is called.
 */

const MAX_CALLS = 64;

interface NotedCall {
  readonly text: string;
  readonly kind: string;
  /** How many of its kind were made one after another, of which this is the last: waiting and writing word by word look so. */
  readonly times: number;
}

let trail: NotedCall[] | undefined;
const trails = new WeakMap<object, readonly NotedCall[]>();

export function startCallTrail(): void {
  trail ??= [];
}

export const isTrailKept = (): boolean => trail !== undefined;

/** `text` is one line: the call, its arguments and its result. Calls of one `kind` that follow each other are shown as one. */
export function noteCall(text: string, kind = text): void {
  if (trail === undefined) return;
  const last = trail.at(-1);
  if (last?.kind === kind) trail[trail.length - 1] = { text, kind, times: last.times + 1 };
  else trail.push({ text, kind, times: 1 });
  if (trail.length > MAX_CALLS) trail.shift();
}

/** Keeps what had been done when this error was made: what is undone because of it would push it out. */
export function keepTrailOf(error: object): void {
  if (trail !== undefined) trails.set(error, [...trail]);
}

/** The calls before an error, oldest first; before its first cause, where that is known. */
export function trailOf(error: unknown): string[] {
  let found: readonly NotedCall[] | undefined;
  for (let one = error; one instanceof Error; one = one.cause) found = trails.get(one) ?? found;
  return (found ?? trail ?? []).map(({ text, times }) => (times === 1 ? text : `${text}, the last of ${times} such`));
}
