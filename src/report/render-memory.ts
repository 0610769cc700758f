/** Memory as text: a hexdump as of hexdump -C, and texts with their addresses. */
import type { ProcessMemory } from './process-memory.ts';

const ROW = 16;

/** Lines of sixteen bytes. Bytes that are not known are `??`. */
export function* hexdump(memory: ProcessMemory, start: number, length: number): Generator<string> {
  const width = start + length > 2 ** 32 ? 12 : 8;
  for (let row = start - (start % ROW); row < start + length; row += ROW) {
    const from = Math.max(row, start);
    const to = Math.min(row + ROW, start + length);
    const known = memory.bytes(from, to - from);
    const cells = Array.from({ length: ROW }, (_, index) => cell(row + index, from, to, known));
    const hexes = [cells.slice(0, 8), cells.slice(8)].map((half) => half.map(({ hex }) => hex).join(' ')).join('  ');
    yield `${row.toString(16).padStart(width, '0')}  ${hexes}  |${cells.map(({ character }) => character).join('')}|`;
  }
}

function cell(address: number, from: number, to: number, known: Buffer): { hex: string; character: string } {
  if (address < from || address >= to) return { hex: '  ', character: ' ' };
  const byte = known[address - from];
  if (byte === undefined) return { hex: '??', character: '?' };
  const isPrintable = byte >= 0x20 && byte <= 0x7e;
  return { hex: byte.toString(16).padStart(2, '0'), character: isPrintable ? String.fromCharCode(byte) : '.' };
}
