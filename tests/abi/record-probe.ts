/** Where an encoder puts a field, found by changing that field alone; and where C has it. */
import { factsInC } from './c-program.ts';

export interface Place {
  readonly offset: number;
  readonly size: number;
}

/**
 * The bytes that differ between two encodings: a field that goes from all zeros to all ones differs in each of its bytes.
 * A change in two places, or of the length, is an error.
 */
export function changedPlace(before: Uint8Array, after: Uint8Array): Place {
  if (before.length !== after.length) throw new Error(`${before.length} bytes became ${after.length}`);
  const changed = [...before.keys()].filter((index) => before[index] !== after[index]);
  const [offset] = changed;
  if (offset === undefined) throw new Error('nothing has changed');
  if (changed.at(-1) !== offset + changed.length - 1) throw new Error(`bytes ${changed.join(', ')} have changed`);
  return { offset, size: changed.length };
}

/** Offset and size of fields of a C struct. */
export function placesInC(
  headers: readonly string[],
  definitions: readonly string[],
  type: string,
  fields: readonly string[],
): Record<string, Place> {
  const offsetOf = (field: string): string => `offsetof(${type}, ${field})`;
  const sizeOf = (field: string): string => `sizeof(((${type} *)0)->${field})`;
  const facts = factsInC(
    headers,
    definitions,
    fields.flatMap((field) => [offsetOf(field), sizeOf(field)]),
  );
  return Object.fromEntries(
    fields.map((field) => [
      field,
      { offset: Number(facts.get(offsetOf(field))), size: Number(facts.get(sizeOf(field))) },
    ]),
  );
}
