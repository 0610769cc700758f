import { expect, test } from 'vitest';
import { inStandardLayout, standardLayout } from '../../../../src/arch/x86/standard-xstate.ts';
import { usedComponents, xcr0Of } from '../../../../src/arch/x86/xstate.ts';
import { largeLayout, markOf, smallLayout, stateOf } from './samples.ts';

test('the layout for debuggers has the sizes by which they know it', () => {
  expect(standardLayout(3n).sizeBytes).toBe(576);
  expect(standardLayout(7n).sizeBytes).toBe(832);
  expect(standardLayout(0xe7n).sizeBytes).toBe(2688);
  expect(standardLayout(0x2e7n).sizeBytes).toBe(2696);
});

test('PKRU goes to its place there from where another processor has it', () => {
  const { image, left } = inStandardLayout(stateOf(smallLayout, [2, 9]), smallLayout);
  expect(image).toHaveLength(2696);
  expect(image[2688]).toBe(markOf(9));
  expect(image[576]).toBe(markOf(2));
  expect(left).toEqual([]);
});

test('components that have no place there are named', () => {
  const { image, left } = inStandardLayout(stateOf(largeLayout, [2, 18]), largeLayout);
  expect(left).toEqual([18]);
  expect(usedComponents(image)).toEqual([0, 1, 2]);
  expect(xcr0Of(image) >> 10n).toBe(0n);
});
