/** Where an encoder puts a field, found by changing that field alone. */

export interface Place {
  readonly offset: number;
  readonly size: number;
}

/**
 * The bytes that differ between two encodings. A field that goes from all zeros to all ones differs in each of its bytes,
 * so that this is its place; bytes that differ in two places are an error.
 */
export function changedPlace(before: Uint8Array, after: Uint8Array): Place {
  if (before.length !== after.length) throw new Error(`${before.length} bytes became ${after.length}`);
  const changed = [...before.keys()].filter((index) => before[index] !== after[index]);
  const [offset] = changed;
  if (offset === undefined) throw new Error('nothing has changed');
  if (changed.at(-1) !== offset + changed.length - 1) throw new Error(`bytes ${changed.join(', ')} have changed`);
  return { offset, size: changed.length };
}
