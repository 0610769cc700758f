/**
 * /proc/PID/maps and /proc/PID/smaps: proc_pid_maps(5), proc_pid_smaps(5).
 *
 * A program with 10,000 mappings has 10 MB of smaps and is frozen while we read it, so that the text is walked once by
 * position. The kernel prints the same keys in the same order for every mapping: the order seen in one is tried first
 * in the next.
 */
import { type Pid, type RemoteAddress, remoteAddress } from '../support/brand.ts';
import { splitDeleted, splitDeletedLink } from './deleted-suffix.ts';
import { readProcLink, readProcText, unlessMissing, VANISHED } from './proc-file.ts';
import { type Device, type ExactInteger, exact, malformed } from './proc-text.ts';

/** One line of maps. */
export interface MapsEntry {
  readonly start: RemoteAddress;
  readonly end: RemoteAddress;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly shared: boolean;
  /** In bytes. */
  readonly offset: ExactInteger;
  readonly device: Device;
  /** Overlay and network file systems use all 64 bits. */
  readonly inode: ExactInteger;
  /**
   * The file's path without " (deleted)"; '' if there is none. The kernel escapes a newline as \012 but not a
   * backslash, and does not tell a name that ends in " (deleted)": the link in map_files is exact where that matters.
   */
  readonly path: string;
  readonly deleted: boolean;
  /** A name in brackets that is no file: '[heap]', '[vdso]', '[anon:name]'. */
  readonly special: string | undefined;
}

/** One entry of smaps. */
export interface Mapping extends MapsEntry {
  /** The two-letter words of VmFlags, as printed. Equal lists are one object. */
  readonly vmFlags: readonly string[];
  /** Undefined if the processor or the kernel has no protection keys. */
  readonly protectionKey: number | undefined;
  /** Of hugetlbfs another than 4. */
  readonly kernelPageKiB: number;
}

const ABSENT = -1;

interface Key {
  /** With the colon. */
  readonly prefix: string;
  /** What it is of; undefined for what nobody needs. */
  readonly field: 'vmFlags' | 'protectionKey' | 'kernelPageKiB' | undefined;
}

const FIELDS: ReadonlyMap<string, Key['field']> = new Map([
  ['KernelPageSize:', 'kernelPageKiB'],
  ['ProtectionKey:', 'protectionKey'],
  ['VmFlags:', 'vmFlags'],
]);

interface Scanner {
  readonly file: string;
  readonly text: string;
  position: number;
  /** Paths by their text: a string cut from the text would keep all of it in memory. */
  readonly names: Map<string, Name>;
  readonly flagLists: Map<string, readonly string[]>;
  /** The keys of the mapping before, in their order. */
  readonly keyOrder: Key[];
}

type Name = Pick<MapsEntry, 'path' | 'deleted' | 'special'>;

const NO_NAME: Name = { path: '', deleted: false, special: undefined };

export const readMaps = (pid: Pid): MapsEntry[] => parseMaps(readProcText(pid, 'maps'));

/** A kernel thread and a zombie have no mappings. */
export const readSmaps = (pid: Pid): Mapping[] => parseSmaps(readProcText(pid, 'smaps'));

/**
 * The path as the link in map_files has it. Needed only where the text of maps can mean two things: a name that ends in
 * " (deleted)", and a backslash with digits beside a real newline.
 */
export function withExactPath(pid: Pid, mapping: Mapping): Mapping {
  if (!mapping.path.startsWith('/') || !(mapping.deleted || mapping.path.includes('\n'))) return mapping;
  const link = `map_files/${mapping.start.toString(16)}-${mapping.end.toString(16)}`;
  const text = unlessMissing(() => readProcLink(pid, link), [...VANISHED, 'not-permitted']);
  return text === undefined ? mapping : { ...mapping, ...splitDeletedLink(`/proc/${pid}/${link}`, text) };
}

export function parseMaps(text: string): MapsEntry[] {
  const scanner = newScanner('maps', text);
  const entries: MapsEntry[] = [];
  while (scanner.position < text.length) entries.push(scanHeader(scanner));
  return entries;
}

export function parseSmaps(text: string): Mapping[] {
  const scanner = newScanner('smaps', text);
  const mappings: Mapping[] = [];
  while (scanner.position < text.length) mappings.push(scanMapping(scanner));
  return mappings;
}

const newScanner = (file: string, text: string): Scanner => ({
  file,
  text,
  position: 0,
  names: new Map(),
  flagLists: new Map(),
  keyOrder: [],
});

function scanMapping(scanner: Scanner): Mapping {
  const start = scanner.position;
  const header = scanHeader(scanner);
  let vmFlags: readonly string[] | undefined;
  let protectionKey: number | undefined;
  let kernelPageKiB: number | undefined;
  for (let index = 0; isKeyLine(scanner); index++) {
    const end = lineEnd(scanner);
    const { field } = scanKey(scanner, index, end);
    if (field === 'vmFlags') vmFlags = flagList(scanner, end);
    else if (field === 'protectionKey') protectionKey = scanNumber(scanner, end, '');
    else if (field === 'kernelPageKiB') kernelPageKiB = scanNumber(scanner, end, ' kB');
    scanner.position = end + 1;
  }
  const missing = (what: string): Error => malformed(scanner.file, what, scanner.text.slice(start, start + 60));
  if (vmFlags === undefined) throw missing('VmFlags');
  if (kernelPageKiB === undefined) throw missing('KernelPageSize');
  return mappingOf(header, vmFlags, protectionKey, kernelPageKiB);
}

/** Written out because a spread is 20 times slower here (40 ms for 10,000 mappings, Node 20). */
export const mappingOf = (
  header: MapsEntry,
  vmFlags: readonly string[],
  protectionKey: number | undefined,
  kernelPageKiB: number,
): Mapping => ({
  start: header.start,
  end: header.end,
  read: header.read,
  write: header.write,
  execute: header.execute,
  shared: header.shared,
  offset: header.offset,
  device: header.device,
  inode: header.inode,
  path: header.path,
  deleted: header.deleted,
  special: header.special,
  vmFlags,
  protectionKey,
  kernelPageKiB,
});

/** A key begins with a capital, an address in small hexadecimal digits. */
function isKeyLine(scanner: Scanner): boolean {
  const code = scanner.text.charCodeAt(scanner.position);
  return code >= 0x41 && code <= 0x5a;
}

function lineEnd(scanner: Scanner): number {
  const end = scanner.text.indexOf('\n', scanner.position);
  if (end < 0) throw malformed(scanner.file, 'the end of a line', scanner.text.slice(scanner.position));
  return end;
}

/** What the line is; moves behind its key. */
function scanKey(scanner: Scanner, index: number, end: number): Key {
  const expected = scanner.keyOrder[index];
  const key =
    expected !== undefined && scanner.text.startsWith(expected.prefix, scanner.position)
      ? expected
      : findKey(scanner, end);
  scanner.keyOrder[index] = key;
  scanner.position += key.prefix.length;
  return key;
}

function findKey(scanner: Scanner, end: number): Key {
  const { text, position } = scanner;
  const colon = text.indexOf(':', position);
  if (colon < 0 || colon > end) throw malformed(scanner.file, 'a line "key: value"', text.slice(position, end));
  const prefix = text.slice(position, colon + 1);
  return { prefix, field: FIELDS.get(prefix) };
}

/** The number at the end of the line, before its unit. */
function scanNumber(scanner: Scanner, end: number, unit: string): number {
  const { text } = scanner;
  const numberEnd = end - unit.length;
  let position = numberEnd - 1;
  let value = 0;
  let weight = 1;
  // From the right, since the kernel pads on the left.
  for (
    let digit = decimalDigit(text.charCodeAt(position));
    digit >= 0;
    digit = decimalDigit(text.charCodeAt(--position))
  ) {
    value += digit * weight;
    weight *= 10;
  }
  // `weight` stays exact as long as the value can be.
  const isNumber = weight > 1 && weight <= 1e15 && text.charCodeAt(position) === 0x20;
  if (!isNumber || position < scanner.position || !text.startsWith(unit, numberEnd)) {
    throw malformed(scanner.file, 'a number', text.slice(scanner.position, end));
  }
  return value;
}

const decimalDigit = (code: number): number => (code >= 0x30 && code <= 0x39 ? code - 0x30 : ABSENT);

function flagList(scanner: Scanner, end: number): readonly string[] {
  const text = scanner.text.slice(scanner.position, end);
  let flags = scanner.flagLists.get(text);
  if (flags === undefined) {
    flags = text.split(' ').filter((flag) => flag !== '');
    scanner.flagLists.set(text, flags);
  }
  return flags;
}

function scanHeader(scanner: Scanner): MapsEntry {
  const from = scanner.position;
  const end = lineEnd(scanner);
  const startAddress = scanHex(scanner, 0x2d);
  const endAddress = scanHex(scanner, 0x20);
  const permissions = scanner.position;
  scanner.position += 4;
  expectCode(scanner, 0x20);
  const offset = scanExact(scanner, 0x20, '0x');
  const major = scanHex(scanner, 0x3a);
  const minor = scanHex(scanner, 0x20);
  const inode = scanExact(scanner, 0x20, '');
  // A double holds every page-aligned 64-bit address exactly, also those of [vsyscall].
  const isRange = startAddress < endAddress && startAddress % 4096 === 0 && endAddress % 4096 === 0;
  if (!isRange || scanner.position > end) throw malformed(scanner.file, 'a mapping', scanner.text.slice(from, end));
  const name = scanName(scanner, end);
  scanner.position = end + 1;
  return {
    start: remoteAddress(startAddress),
    end: remoteAddress(endAddress),
    read: permission(scanner, permissions, 'r', '-'),
    write: permission(scanner, permissions + 1, 'w', '-'),
    execute: permission(scanner, permissions + 2, 'x', '-'),
    shared: permission(scanner, permissions + 3, 's', 'p'),
    offset,
    device: { major, minor },
    inode,
    path: name.path,
    deleted: name.deleted,
    special: name.special,
  };
}

function expectCode(scanner: Scanner, code: number): void {
  if (scanner.text.charCodeAt(scanner.position) !== code) {
    const { text, position } = scanner;
    throw malformed(scanner.file, `"${String.fromCharCode(code)}"`, text.slice(position, position + 20));
  }
  scanner.position++;
}

const hexDigit = (code: number): number => {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : ABSENT;
};

/** At most 16 digits and the character behind them. The value is exact if it has at most 53 significant bits. */
function scanHex(scanner: Scanner, terminator: number): number {
  const { text } = scanner;
  const from = scanner.position;
  let position = from;
  let value = 0;
  for (let digit = hexDigit(text.charCodeAt(position)); digit >= 0; digit = hexDigit(text.charCodeAt(++position))) {
    value = value * 16 + digit;
  }
  if (position === from || position > from + 16) {
    throw malformed(scanner.file, 'a hexadecimal number', text.slice(from, from + 20));
  }
  scanner.position = position;
  expectCode(scanner, terminator);
  return value;
}

/** A number of any size in hexadecimal ('0x') or decimal (''), and the character behind it. */
function scanExact(scanner: Scanner, terminator: number, prefix: '0x' | ''): ExactInteger {
  const { text } = scanner;
  const from = scanner.position;
  const end = text.indexOf(String.fromCharCode(terminator), from);
  const digits = text.slice(from, end < 0 ? from : Math.min(end, from + 21));
  const pattern = prefix === '0x' ? /^[0-9a-f]{1,16}$/ : /^\d{1,20}$/;
  if (!pattern.test(digits)) throw malformed(scanner.file, 'a number', text.slice(from, from + 20));
  scanner.position = end + 1;
  return digits.length <= 13 ? Number(prefix + digits) : exact(BigInt(prefix + digits));
}

function permission(scanner: Scanner, position: number, yes: string, no: string): boolean {
  const letter = scanner.text[position];
  if (letter !== yes && letter !== no) throw malformed(scanner.file, `a permission "${yes}" or "${no}"`, letter);
  return letter === yes;
}

function scanName(scanner: Scanner, end: number): Name {
  let position = scanner.position;
  while (position < end && scanner.text.charCodeAt(position) === 0x20) position++;
  if (position >= end) return NO_NAME;
  const text = scanner.text.slice(position, end);
  let name = scanner.names.get(text);
  if (name === undefined) {
    name = parseName(text);
    scanner.names.set(text, name);
  }
  return name;
}

function parseName(text: string): Name {
  const copy = Buffer.from(text).toString();
  if (copy.startsWith('[')) return { path: '', deleted: false, special: copy };
  return { ...splitDeleted(copy.replaceAll('\\012', '\n')), special: undefined };
}
