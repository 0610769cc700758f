/**
 * The XSAVE image in its uncompacted form, as ptrace gives it (NT_X86_XSTATE; Intel SDM volume 1, chapter 13): 512 bytes of
 * FXSAVE, 64 bytes of header, then components at offsets that CPUID leaf 0xD tells for each processor.
 */

export const LEGACY_SIZE = 512;
export const HEADER_SIZE = 64;
const XSTATE_BV = LEGACY_SIZE;
const XCOMP_BV = LEGACY_SIZE + 8;
/** The kernel puts XCR0 into the bytes that FXSAVE leaves to software (asm/user.h, XSTATE_CPU...). */
const SOFTWARE_XCR0 = 464;
const MXCSR = 24;

/** One component of the image on one processor; bytes from the start of the image. */
export interface XstateComponent {
  readonly index: number;
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface XstateLayout {
  readonly xcr0: bigint;
  readonly sizeBytes: number;
  /** Components from index 2 on; 0 (x87) and 1 (SSE) are the legacy part. */
  readonly components: readonly XstateComponent[];
}

const names: ReadonlyMap<number, string> = new Map([
  [0, 'x87'],
  [1, 'SSE'],
  [2, 'AVX'],
  [3, 'MPX bounds'],
  [4, 'MPX configuration'],
  [5, 'AVX-512 mask registers'],
  [6, 'AVX-512 upper halves of zmm0-15'],
  [7, 'AVX-512 zmm16-31'],
  [8, 'processor trace'],
  [9, 'protection keys (PKRU)'],
  [17, 'AMX tile configuration'],
  [18, 'AMX tile data'],
  [19, 'APX extended registers'],
]);

export const componentName = (index: number): string => names.get(index) ?? `component ${index}`;

/** The components that are not in their initial state. */
export function usedComponents(image: Buffer): number[] {
  const bits = image.readBigUInt64LE(XSTATE_BV);
  return Array.from({ length: 64 }, (_, index) => index).filter((index) => (bits >> BigInt(index)) & 1n);
}

export const xcr0Of = (image: Buffer): bigint => image.readBigUInt64LE(SOFTWARE_XCR0);

/** The components that the image uses and this processor does not have, or has in another size. */
export function missingComponents(image: Buffer, from: XstateLayout, host: XstateLayout): number[] {
  const sizeIn = ({ components }: XstateLayout, index: number): number | undefined =>
    components.find((part) => part.index === index)?.sizeBytes;
  return usedComponents(image).filter(
    (index) => ((host.xcr0 >> BigInt(index)) & 1n) === 0n || sizeIn(from, index) !== sizeIn(host, index),
  );
}

/** What is wrong with an image that claims this layout; undefined if nothing is. */
export function xstateFault(image: Buffer, layout: XstateLayout, mxcsrMask: number): string | undefined {
  if (image.length < LEGACY_SIZE + HEADER_SIZE) return 'the floating point state is too short';
  if ((image.readBigUInt64LE(XSTATE_BV) & ~layout.xcr0) !== 0n) return 'XSTATE_BV has bits that XCR0 lacks';
  if (image.readBigUInt64LE(XCOMP_BV) !== 0n) return 'XCOMP_BV is not zero';
  if (image.subarray(XCOMP_BV + 8, LEGACY_SIZE + HEADER_SIZE).some((byte) => byte !== 0)) {
    return 'the reserved bytes of the XSAVE header are not zero';
  }
  if ((image.readUInt32LE(MXCSR) & ~mxcsrMask) >>> 0 !== 0) return 'MXCSR has reserved bits';
  return layoutFault(layout, image.length) ?? homelessComponent(image, layout);
}

const FIRST_EXTENDED = 2;
const LAST_EXTENDED = 62;

function layoutFault({ components }: XstateLayout, sizeBytes: number): string | undefined {
  for (const { index, offset, sizeBytes: own } of components) {
    if (index < FIRST_EXTENDED || index > LAST_EXTENDED) return `${componentName(index)} has no place of its own`;
    if (offset < LEGACY_SIZE + HEADER_SIZE) return `${componentName(index)} lies within the legacy part`;
    if (offset + own > sizeBytes) return `${componentName(index)} lies outside of the image`;
  }
  const isOnce = new Set(components.map(({ index }) => index)).size === components.length;
  return isOnce ? undefined : 'a component is listed twice';
}

function homelessComponent(image: Buffer, { components }: XstateLayout): string | undefined {
  const homeless = usedComponents(image).find(
    (index) => index >= FIRST_EXTENDED && !components.some((part) => part.index === index),
  );
  return homeless === undefined ? undefined : `${componentName(homeless)} is used and has no place in the image`;
}

/** The same state with every component at the place that this processor gives it. */
export function relocated(image: Buffer, from: XstateLayout, to: XstateLayout): Buffer {
  const moved = Buffer.alloc(to.sizeBytes);
  image.copy(moved, 0, 0, LEGACY_SIZE + HEADER_SIZE);
  moved.writeBigUInt64LE(to.xcr0, SOFTWARE_XCR0);
  for (const target of to.components) {
    const source = from.components.find((part) => part.index === target.index);
    // A component that is used has the same size here: see missingComponents.
    if (source === undefined || source.sizeBytes !== target.sizeBytes) continue;
    image.copy(moved, target.offset, source.offset, source.offset + source.sizeBytes);
  }
  moved.writeBigUInt64LE(image.readBigUInt64LE(XSTATE_BV) & to.xcr0, XSTATE_BV);
  return moved;
}
