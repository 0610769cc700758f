/** Registers and XSAVE images as a running program has them, and made-up processors. */
import { type RegisterFile, type RegisterName, withRegisters } from '../../../../src/arch/x86/registers.ts';
import type { XstateComponent, XstateLayout } from '../../../../src/arch/x86/xstate.ts';
import { registerFile } from '../../report/sample-image.ts';

export const XSTATE_BV = 512;
export const XCOMP_BV = 520;
const SOFTWARE_XCR0 = 464;

/** A 64-bit program in its own code. */
export const running: RegisterFile = registerFile({
  rip: 0x40_1000n,
  rsp: 0x7ffd_0000_1000n,
  cs: 0x33n,
  ss: 0x2bn,
  eflags: 0x246n,
  orig_rax: -1n,
  fs_base: 0x7f00_0000_1740n,
});

/** The same in a system call, which the stop has left with `result`. */
export const inCall = (
  number: number,
  result: number,
  others: Partial<Record<RegisterName, bigint | number>> = {},
): RegisterFile => withRegisters(running, { orig_rax: number, rax: result, ...others });

export function layoutOf(xcr0: bigint, components: readonly XstateComponent[]): XstateLayout {
  const ends = components.map(({ offset, sizeBytes }) => offset + sizeBytes);
  return { xcr0, sizeBytes: Math.max(576, ...ends), components };
}

const avx: XstateComponent = { index: 2, offset: 576, sizeBytes: 256 };

/** x87, SSE, AVX and protection keys, as one maker has them. */
export const smallLayout = layoutOf(0x207n, [avx, { index: 9, offset: 832, sizeBytes: 8 }]);

/** The same and AVX-512 and AMX, the keys elsewhere, as another maker has them. */
export const largeLayout = layoutOf(0x6_02e7n, [
  avx,
  { index: 5, offset: 1088, sizeBytes: 64 },
  { index: 6, offset: 1152, sizeBytes: 512 },
  { index: 7, offset: 1664, sizeBytes: 1024 },
  { index: 9, offset: 2688, sizeBytes: 8 },
  { index: 17, offset: 2752, sizeBytes: 64 },
  { index: 18, offset: 2816, sizeBytes: 8192 },
]);

/** What `stateOf` puts into every byte of a component. */
export const markOf = (index: number): number => 0xa0 + index;

/** An image in which the components of `used` are not in their initial state; x87 and SSE always are used. */
export function stateOf(layout: XstateLayout, used: readonly number[]): Buffer {
  const image = Buffer.alloc(layout.sizeBytes);
  image.writeUInt16LE(0x37f, 0);
  image.writeUInt32LE(0x1f80, 24);
  image.fill(0x5a, 160, 416);
  image.writeBigUInt64LE(layout.xcr0, SOFTWARE_XCR0);
  const bits = [0, 1, ...used].reduce((sum, index) => sum | (1n << BigInt(index)), 0n);
  image.writeBigUInt64LE(bits, XSTATE_BV);
  for (const { index, offset, sizeBytes } of layout.components) {
    if (used.includes(index)) image.fill(markOf(index), offset, offset + sizeBytes);
  }
  return image;
}

/** A descriptor of a 32-bit segment of user privilege with this base; `type` as in the Intel SDM, volume 3, table 3-1. */
function descriptor(base: number, type: number, present = true): Buffer {
  const bytes = Buffer.from([0xff, 0xff, 0, 0, 0, 0, 0x4f, 0]);
  bytes.writeUInt16LE(base & 0xffff, 2);
  bytes[4] = (base >>> 16) & 0xff;
  bytes[5] = (present ? 0xf0 : 0x70) | type;
  bytes[7] = base >>> 24;
  return bytes;
}

export const dataAt = (base: number): Buffer => descriptor(base, 0x3);
export const readOnlyDataAt = (base: number): Buffer => descriptor(base, 0x1);
export const codeAt = (base: number): Buffer => descriptor(base, 0xb);
export const unreadableCodeAt = (base: number): Buffer => descriptor(base, 0x9);
export const conformingCodeAt = (base: number): Buffer => descriptor(base, 0xf);
export const absentAt = (base: number): Buffer => descriptor(base, 0x3, false);

/** A table with empty descriptors where there is none. */
export const tableOf = (descriptors: readonly (Buffer | undefined)[]): Buffer =>
  Buffer.concat(descriptors.map((one) => one ?? Buffer.alloc(8)));
