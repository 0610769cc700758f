/** With `--incremental`: which save the next one builds on, and which have to stay for others. */
/** Whoever loses a whole save loses all that build on it. */
const MAX_ON_ONE = 8;

export interface Save {
  /** The start that it was made in, and its number there. */
  readonly run: number;
  readonly number: number;
  /** Number of the save of the same start that it builds on. Missing: it is whole. */
  readonly base?: number;
  readonly sizeBytes: number;
}

/**
 * The whole save of this start of which the next one writes only what differs; undefined: the next one is to be whole, because too many
 * build on that, or because the last one that did was not half as small.
 */
export function baseFor<One extends Save>(saves: readonly One[], run: number): One | undefined {
  const own = saves.filter((one) => one.run === run);
  const whole = own.findLast(({ base }) => base === undefined);
  if (whole === undefined) return undefined;
  const onIt = own.filter(({ base }) => base === whole.number);
  const pays = (onIt.at(-1)?.sizeBytes ?? 0) * 2 <= whole.sizeBytes;
  return pays && onIt.length < MAX_ON_ONE ? whole : undefined;
}

/**
 * What may go, those first that others do not need: all but the newest `keep`, those that they build on, and, where all of them build on
 * one, the whole save before that. `saves` are in their order.
 */
export function expendable<One extends Save>(saves: readonly One[], keep: number): One[] {
  const kept = new Set(saves.slice(-keep));
  for (const { run, base } of [...kept]) {
    const needed = saves.find((one) => one.run === run && one.number === base);
    if (needed !== undefined) kept.add(needed);
  }
  const whole = [...kept].filter(({ base }) => base === undefined);
  const [only] = whole;
  if (whole.length === 1 && only !== undefined && kept.size > 1) {
    const before = saves.slice(0, saves.indexOf(only)).findLast(({ base }) => base === undefined);
    if (before !== undefined) kept.add(before);
  }
  const others = saves.filter((one) => !kept.has(one));
  return [...others.filter(({ base }) => base !== undefined), ...others.filter(({ base }) => base === undefined)];
}
