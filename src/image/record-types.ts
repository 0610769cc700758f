/**
 * The kinds of records in an image stream. Numbers and names are those of the 2008 design where it had the record.
 */
export const RECORD = {
  HEAD: 1,
  STRING: 2,
  FNAME: 3,
  TASK: 101,
  THREAD: 102,
  CPU: 103,
  TASK_STATE: 104,
  THREAD_STATE: 105,
  EXITED: 106,
  MM: 201,
  VMA: 202,
  PGARR: 203,
  MM_CONTEXT: 204,
  FILES: 301,
  FD_ENT: 302,
  FD_DATA: 303,
  TIMELINE: 4999,
  SIGNATURE: 5000,
  TAIL: 5001,
  ERROR: 9999,
} as const;

export type RecordName = keyof typeof RECORD;
export type RecordType = (typeof RECORD)[RecordName];

/** Bits of a record header's flags. All others must be zero. */
export const RECORD_FLAG = {
  /** A reader that does not know the record's type may pass over it. */
  OPTIONAL: 1,
} as const;

const KNOWN_FLAGS = RECORD_FLAG.OPTIONAL;

const namesByType: ReadonlyMap<number, string> = new Map(Object.entries(RECORD).map(([name, type]) => [type, name]));

/** Records whose payload is a binary layout of its own; every other payload is one CBOR item. */
const binaryTypes: ReadonlySet<number> = new Set([
  RECORD.HEAD,
  RECORD.THREAD,
  RECORD.CPU,
  RECORD.MM_CONTEXT,
  RECORD.PGARR,
  RECORD.SIGNATURE,
  RECORD.TAIL,
]);

/** `TASK`, or `type 77` where we have no name for it. */
export const recordName = (type: number): string => namesByType.get(type) ?? `type ${type}`;

export const isKnownRecord = (type: number): type is RecordType => namesByType.has(type);

export const isCborRecord = (type: number): boolean => namesByType.has(type) && !binaryTypes.has(type);

export const hasUnknownFlags = (flags: number): boolean => (flags & ~KNOWN_FLAGS) !== 0;

/** How errors call a record: `TASK record at byte 4096`. */
export const recordLabel = (type: number, offset: number): string =>
  isKnownRecord(type) ? `${recordName(type)} record at byte ${offset}` : `Record of type ${type} at byte ${offset}`;
