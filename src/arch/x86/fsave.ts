/**
 * The x87 state in the form of FSAVE, as the NT_PRFPREG note of a 32-bit program has it (struct user_i387_struct of i386; Intel
 * SDM volume 1, 8.1.10), from that of FXSAVE, with which an XSAVE image begins (volume 1, 10.5.1).
 */
export const FSAVE_SIZE = 108;

const REGISTERS = 8;
const REGISTER_BYTES = 10;
/** The upper half of each control word is all ones. */
const UPPER = 0xffff_0000;
const FXSAVE_REGISTERS = 32;
const FSAVE_REGISTERS = 28;

export function fsaveOf(fxsave: Buffer): Buffer {
  const fsave = Buffer.alloc(FSAVE_SIZE);
  const status = fxsave.readUInt16LE(2);
  fsave.writeUInt32LE((UPPER | fxsave.readUInt16LE(0)) >>> 0, 0);
  fsave.writeUInt32LE((UPPER | status) >>> 0, 4);
  fsave.writeUInt32LE((UPPER | fullTags(fxsave, (status >> 11) & 7)) >>> 0, 8);
  // Instruction pointer with its selector and the last opcode, then data pointer with its selector.
  fsave.writeUInt32LE(fxsave.readUInt32LE(8), 12);
  fsave.writeUInt32LE(((fxsave.readUInt16LE(6) << 16) | fxsave.readUInt16LE(12)) >>> 0, 16);
  fsave.writeUInt32LE(fxsave.readUInt32LE(16), 20);
  fsave.writeUInt32LE((UPPER | fxsave.readUInt16LE(20)) >>> 0, 24);
  for (let index = 0; index < REGISTERS; index++) {
    const from = FXSAVE_REGISTERS + index * 16;
    fxsave.copy(fsave, FSAVE_REGISTERS + index * REGISTER_BYTES, from, from + REGISTER_BYTES);
  }
  return fsave;
}

const VALID = 0;
const ZERO = 1;
const SPECIAL = 2;
const EMPTY = 3;

/** FXSAVE keeps one bit for each physical register (not empty), FSAVE two. Registers stand in the order of the stack. */
function fullTags(fxsave: Buffer, top: number): number {
  const present = fxsave.readUInt8(4);
  let tags = 0;
  for (let physical = 0; physical < REGISTERS; physical++) {
    const at = FXSAVE_REGISTERS + ((physical - top + REGISTERS) % REGISTERS) * 16;
    const tag = (present >> physical) & 1 ? tagOf(fxsave.subarray(at, at + REGISTER_BYTES)) : EMPTY;
    tags |= tag << (physical * 2);
  }
  return tags;
}

function tagOf(value: Buffer): number {
  const exponent = value.readUInt16LE(8) & 0x7fff;
  const significand = value.readBigUInt64LE(0);
  if (exponent === 0x7fff) return SPECIAL;
  if (exponent === 0) return significand === 0n ? ZERO : SPECIAL;
  return significand >> 63n === 1n ? VALID : SPECIAL;
}
