/** /proc/PID/auxv: proc_pid_auxv(5), getauxval(3). */
import type { Pid } from '../support/brand.ts';
import { readProcBytes, unlessMissing } from './proc-file.ts';
import { malformed } from './proc-text.ts';

export type AuxvEntry = readonly [type: bigint, value: bigint];

/** Bytes in a word: 8, or 4 in a 32-bit program. */
export type WordSize = 4 | 8;

const AT_NULL = 0n;

/** A kernel thread and a zombie have none. */
export function readAuxv(pid: Pid): AuxvEntry[] {
  const bytes = unlessMissing(() => readProcBytes(pid, 'auxv'), ['no-proc-file']);
  return bytes === undefined ? [] : parseAuxv(bytes);
}

/**
 * The entries before AT_NULL. The kernel gives the bytes as they are in the program, so that a 32-bit one has words of
 * 4.
 */
export function parseAuxv(bytes: Uint8Array, wordSize: WordSize = auxvWordSize(bytes)): AuxvEntry[] {
  if (bytes.length === 0) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number): bigint =>
    wordSize === 8 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
  const entries: AuxvEntry[] = [];
  for (let at = 0; at + 2 * wordSize <= bytes.length; at += 2 * wordSize) {
    const type = word(at);
    if (type === AT_NULL) return entries;
    entries.push([type, word(at + wordSize)]);
  }
  throw malformed('auxv', 'AT_NULL at its end', undefined);
}

/**
 * Types are small numbers. Read as 64-bit words, a table of 32-bit words has a first value in the upper half of its
 * first type; the values of a 32-bit table's first entries (AT_SYSINFO, AT_SYSINFO_EHDR: addresses) are never 0.
 */
export function auxvWordSize(bytes: Uint8Array): WordSize {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return bytes.length >= 8 && view.getUint32(4, true) !== 0 ? 4 : 8;
}
