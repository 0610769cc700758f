import { describe, expect, it } from 'vitest';
import {
  componentName,
  missingComponents,
  relocated,
  usedComponents,
  xcr0Of,
  xstateFault,
} from '../../../../src/arch/x86/xstate.ts';
import { largeLayout, layoutOf, markOf, smallLayout, stateOf, XCOMP_BV, XSTATE_BV } from './samples.ts';

const MXCSR_MASK = 0xffff;
const partOf = (image: Buffer, layout: typeof smallLayout, index: number): number[] => {
  const { offset = 0, sizeBytes = 0 } = layout.components.find((part) => part.index === index) ?? {};
  return [...new Set(image.subarray(offset, offset + sizeBytes))];
};

describe('a relocated state', () => {
  it('has every used component at the place of the other processor', () => {
    const moved = relocated(stateOf(smallLayout, [2, 9]), smallLayout, largeLayout);
    expect(partOf(moved, largeLayout, 2)).toEqual([markOf(2)]);
    expect(partOf(moved, largeLayout, 9)).toEqual([markOf(9)]);
    expect(usedComponents(moved)).toEqual([0, 1, 2, 9]);
  });

  it('has zeros where the old processor had no component', () => {
    const moved = relocated(stateOf(smallLayout, [2, 9]), smallLayout, largeLayout);
    for (const index of [5, 6, 7, 17, 18]) expect(partOf(moved, largeLayout, index)).toEqual([0]);
  });

  it('is as long as the other processor wants it, AMX and all', () => {
    expect(largeLayout.sizeBytes).toBe(11_008);
    expect(relocated(stateOf(smallLayout, []), smallLayout, largeLayout)).toHaveLength(11_008);
    expect(relocated(stateOf(largeLayout, []), largeLayout, smallLayout)).toHaveLength(840);
  });

  it('names the XCR0 of the other processor in the bytes that are left to software', () => {
    expect(xcr0Of(relocated(stateOf(smallLayout, []), smallLayout, largeLayout))).toBe(largeLayout.xcr0);
  });

  it('keeps x87 and SSE as they were', () => {
    const state = stateOf(smallLayout, [2]);
    const moved = relocated(state, smallLayout, largeLayout);
    expect(moved.subarray(0, 464)).toEqual(state.subarray(0, 464));
  });

  it('keeps a component in its initial state there, whatever its bytes are', () => {
    const state = stateOf(smallLayout, [2]);
    state.fill(0xff, 832, 840);
    expect(usedComponents(relocated(state, smallLayout, largeLayout))).toEqual([0, 1, 2]);
  });

  it('does not claim a component that the other processor has not', () => {
    const moved = relocated(stateOf(largeLayout, [2, 5, 18]), largeLayout, smallLayout);
    expect(usedComponents(moved)).toEqual([0, 1, 2]);
    expect(partOf(moved, smallLayout, 2)).toEqual([markOf(2)]);
  });

  it('comes back the same when it is moved there and back', () => {
    const state = stateOf(smallLayout, [2, 9]);
    expect(relocated(relocated(state, smallLayout, largeLayout), largeLayout, smallLayout)).toEqual(state);
  });

  it('is a copy', () => {
    const state = stateOf(smallLayout, [2]);
    relocated(state, smallLayout, smallLayout).fill(0);
    expect(state).toEqual(stateOf(smallLayout, [2]));
  });
});

describe('components', () => {
  it('that are used and that this processor lacks are named by their numbers', () => {
    expect(missingComponents(stateOf(largeLayout, [2, 5, 18]), largeLayout, smallLayout)).toEqual([5, 18]);
    expect(missingComponents(stateOf(largeLayout, [2]), largeLayout, smallLayout)).toEqual([]);
    expect(missingComponents(stateOf(smallLayout, [2, 9]), smallLayout, largeLayout)).toEqual([]);
  });

  it('that nobody knows yet are found too', () => {
    const state = stateOf(smallLayout, [2, 61]);
    expect(usedComponents(state)).toEqual([0, 1, 2, 61]);
    expect(missingComponents(state, smallLayout, smallLayout)).toEqual([61]);
    expect(componentName(61)).toBe('component 61');
  });

  it('that are known have a name for people', () => {
    expect([0, 1, 2, 9, 18].map(componentName)).toEqual([
      'x87',
      'SSE',
      'AVX',
      'protection keys (PKRU)',
      'AMX tile data',
    ]);
  });
});

describe('xstateFault', () => {
  it.each([
    ['everything used', largeLayout, [2, 5, 6, 7, 9, 17, 18]],
    ['only SSE', layoutOf(3n, []), []],
  ])('finds nothing wrong with %s', (_, layout, used) => {
    expect(xstateFault(stateOf(layout, used), layout, MXCSR_MASK)).toBeUndefined();
  });

  const lies: [string, (image: Buffer) => void, RegExp][] = [
    ['an unknown component', (image) => image.writeBigUInt64LE(1n << 61n, XSTATE_BV), /XSTATE_BV has bits that XCR0/],
    ['the highest bit', (image) => image.writeBigUInt64LE(1n << 63n, XSTATE_BV), /XSTATE_BV has bits that XCR0/],
    ['the compacted form', (image) => image.writeBigUInt64LE(1n << 63n, XCOMP_BV), /XCOMP_BV is not zero/],
    ['a reserved byte behind XCOMP_BV', (image) => image.writeUInt8(1, 528), /reserved bytes/],
    ['the last reserved byte', (image) => image.writeUInt8(1, 575), /reserved bytes/],
    ['a reserved bit of MXCSR', (image) => image.writeUInt32LE(0x1_1f80, 24), /MXCSR has reserved bits/],
    ['the highest bit of MXCSR', (image) => image.writeUInt32LE(0x8000_1f80, 24), /MXCSR has reserved bits/],
  ];
  it.each(lies)('finds %s', (_, change, expected) => {
    const image = stateOf(smallLayout, [2]);
    change(image);
    expect(xstateFault(image, smallLayout, MXCSR_MASK)).toMatch(expected);
  });

  it('finds a state that ends within its header, or before a component does', () => {
    const state = stateOf(smallLayout, [2]);
    expect(xstateFault(state.subarray(0, 575), smallLayout, MXCSR_MASK)).toMatch(/too short/);
    expect(xstateFault(state.subarray(0, 839), smallLayout, MXCSR_MASK)).toMatch(
      /^protection keys \(PKRU\) lies outside/,
    );
  });

  // A restart would load zeros for it: nothing in the image says where its bytes are.
  it('finds a used component that has no place in the image', () => {
    const layout = { ...smallLayout, components: smallLayout.components.slice(1) };
    expect(xstateFault(stateOf(layout, [2]), layout, MXCSR_MASK)).toMatch(/AVX/);
  });

  it.each([
    ['lies within the legacy part', { index: 2, offset: 160, sizeBytes: 256 }],
    ['lies within the header', { index: 2, offset: 512, sizeBytes: 256 }],
    ['is called x87', { index: 0, offset: 576, sizeBytes: 256 }],
  ])('finds a component that %s', (_, component) => {
    const layout = { ...smallLayout, components: [component] };
    expect(xstateFault(stateOf(smallLayout, []), layout, MXCSR_MASK)).toBeTypeOf('string');
  });
});
