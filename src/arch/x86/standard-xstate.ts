/**
 * The layout of the XSAVE image that debuggers expect in a core file: that of Intel's processors, whatever the processor was. gdb before
 * 14 knows no other, and later ones tell a layout by its size alone, which fails where a virtual machine hides a component.
 */
import { relocated, usedComponents, type XstateLayout } from './xstate.ts';

/** Component, offset, size: up to PKRU every Intel processor has them there. */
const places: readonly (readonly [index: number, offset: number, sizeBytes: number])[] = [
  [2, 576, 256],
  [3, 960, 64],
  [4, 1024, 64],
  [5, 1088, 64],
  [6, 1152, 512],
  [7, 1664, 1024],
  [9, 2688, 8],
];
const LEGACY_COMPONENTS = 3n;
const LEGACY_AND_HEADER = 576;

export function standardLayout(xcr0: bigint): XstateLayout {
  const components = places
    .filter(([index]) => (xcr0 >> BigInt(index)) & 1n)
    .map(([index, offset, sizeBytes]) => ({ index, offset, sizeBytes }));
  const last = components.at(-1);
  return {
    xcr0: components.reduce((bits, { index }) => bits | (1n << BigInt(index)), xcr0 & LEGACY_COMPONENTS),
    sizeBytes: last === undefined ? LEGACY_AND_HEADER : last.offset + last.sizeBytes,
    components,
  };
}

/** The state in that layout, and the components in use for which it has no place. */
export function inStandardLayout(image: Buffer, from: XstateLayout): { image: Buffer; left: readonly number[] } {
  const to = standardLayout(from.xcr0);
  const left = usedComponents(image).filter((index) => ((to.xcr0 >> BigInt(index)) & 1n) === 0n);
  return { image: relocated(image, from, to), left };
}
