/** Addresses of code by name, where this host has the files; and the return addresses that stand on a stack. */
import { basename } from 'node:path';
import type { MappingState } from '../image/tree.ts';
import { ElfFunctions } from '../support/elf-functions.ts';
import { dynamicFunctions } from '../support/elf-symbols.ts';
import { textAt, toJson } from './json.ts';
import { hex } from './names.ts';
import type { ProcessMemory } from './process-memory.ts';

const PROT_EXEC = 4;

export interface StackEntry {
  /** Where on the stack it stands. */
  readonly at: string;
  readonly address: string;
  /** `pause+0x12 (libc.so.6)` */
  readonly place: string;
}

export class Symbols {
  readonly #memory: ProcessMemory;
  readonly #files = new Map<string, ElfFunctions | undefined>();
  readonly #vdso: ReturnType<typeof dynamicFunctions>;

  constructor(memory: ProcessMemory) {
    this.#memory = memory;
    this.#vdso = dynamicFunctions(Buffer.from(memory.process.task.vdso.image ?? []));
  }

  /** `main+0x1f (worker)`, or `worker+0x1139` where only the file is known; undefined outside of code. */
  placeOf(address: number): string | undefined {
    const mapping = this.#memory.mappingAt(address);
    if (mapping === undefined || (mapping.protection & PROT_EXEC) === 0) return undefined;
    const offset = mapping.offset + address - mapping.start;
    const name = textAt(toJson(mapping.state), 'name');
    if (name === '[vdso]') return this.#inVdso(address - mapping.start);
    const path = this.#memory.fileHere(mapping);
    if (path === undefined) return undefined;
    const file = this.#file(path);
    const linked = file?.addressOf(offset);
    const found = linked === undefined ? undefined : file?.at(linked);
    const short = basename(path);
    return found === undefined
      ? `${short}+${hex(linked ?? offset)}`
      : `${found.name}+${hex(found.distance)} (${short})`;
  }

  #inVdso(offset: number): string {
    const found = this.#vdso?.find((one) => one.offset <= offset && offset < one.offset + one.sizeBytes);
    return found === undefined ? `[vdso]+${hex(offset)}` : `${found.name}+${hex(offset - found.offset)} ([vdso])`;
  }

  #file(path: string): ElfFunctions | undefined {
    if (!this.#files.has(path)) this.#files.set(path, ElfFunctions.tryOpen(path));
    return this.#files.get(path);
  }

  /**
   * Words of the stack that are addresses behind a call instruction. No unwinding: an old one that nobody has written over is among
   * them. A debugger unwinds (export --format core).
   */
  returnAddresses(stackPointer: number, word: 4 | 8, limit: number): StackEntry[] {
    const stack = this.#memory.mappingAt(stackPointer);
    if (stack === undefined) return [];
    const length = Math.min(stack.end - stackPointer, MAX_STACK_BYTES);
    const bytes = this.#memory.bytes(stackPointer, length);
    const found: StackEntry[] = [];
    for (let at = 0; at + word <= bytes.length && found.length < limit; at += word) {
      const address = word === 8 ? Number(bytes.readBigUInt64LE(at)) : bytes.readUInt32LE(at);
      const mapping = this.#memory.mappingAt(address);
      if (mapping === undefined || !this.#isBehindCall(address, mapping)) continue;
      const place = this.placeOf(address) ?? '';
      found.push({ at: hex(stackPointer + at), address: hex(address), place });
    }
    return found;
  }

  /** Intel SDM volume 2, CALL: E8 and four bytes, or FF with a ModRM byte of extension 2, of two to seven bytes. */
  #isBehindCall(address: number, mapping: MappingState): boolean {
    if ((mapping.protection & PROT_EXEC) === 0 || address - mapping.start < LONGEST_CALL) return false;
    const before = this.#memory.bytes(address - LONGEST_CALL, LONGEST_CALL);
    if (before.length < LONGEST_CALL) return false;
    if (before[LONGEST_CALL - 5] === 0xe8) return true;
    return CALL_LENGTHS.some((length) => {
      const at = LONGEST_CALL - length;
      return before[at] === 0xff && (((before[at + 1] ?? 0) >> 3) & 7) === 2;
    });
  }

  close(): void {
    for (const file of this.#files.values()) file?.close();
  }
}

const MAX_STACK_BYTES = 256 * 1024;
const LONGEST_CALL = 7;
const CALL_LENGTHS = [2, 3, 4, 6, 7] as const;
