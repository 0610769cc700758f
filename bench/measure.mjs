// How the benchmark gets its numbers: rounds in which everything that will be compared is measured side by side.

/**
 * Measures all parts in every round, in turn forwards and backwards, because the machine is another one a minute later. A part
 * returns { name: ms }. The first round warms caches, memory and CPU up and does not count.
 */
export async function rounds(count, parts) {
  const samples = {};
  for (let round = 0; round <= count; round++) {
    for (const part of round % 2 === 0 ? parts : parts.toReversed()) {
      for (const [name, ms] of Object.entries(await part())) {
        samples[name] ??= [];
        if (round > 0) samples[name].push(ms);
      }
    }
  }
  return Object.fromEntries(Object.entries(samples).map(([name, values]) => [name, summary(values)]));
}

function summary(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { min: sorted[0], median };
}

/**
 * A line of the result. `reference`, [name, summary], is what the machine or a simpler program takes in the same rounds.
 * `target`, [text, limit], says what the minimum and the median may be: limit('min') and limit('median') in ms.
 */
export function result(what, measured, { reference, target } = {}) {
  const line = { what, minMs: measured.min, medianMs: measured.median };
  if (reference !== undefined) {
    const [name, { min, median }] = reference;
    line.reference = { what: name, minMs: min, medianMs: median };
    line.ratio = { ofMinimums: measured.min / min, ofMedians: measured.median / median };
  }
  if (target !== undefined) {
    const [text, limit] = target;
    line.target = { what: text, minMs: limit('min'), medianMs: limit('median') };
    line.targetMet = measured.min <= line.target.minMs && measured.median <= line.target.medianMs;
  }
  return line;
}

/** A target that is the same for minimum and median. */
export const atMost = (ms) => [`${ms} ms`, () => ms];
