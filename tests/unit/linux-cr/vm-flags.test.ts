import { expect, it } from 'vitest';
import { VM } from '../../../src/linux-cr/layout.ts';
import {
  flagsFault,
  isPageProtOf,
  lostWords,
  pageProtOf,
  privateFlags,
  protectionOf,
  wordsOf,
} from '../../../src/linux-cr/vm-flags.ts';

const words = ['gd', 'lo', 'sr', 'rr', 'dc', 'nr'];

it('private memory has the flags that a kernel of 2008 gives it', () => {
  expect(privateFlags({ protection: 3, words: ['gd'] })).toBe(0x100173n);
  expect(privateFlags({ protection: 0, words: [] })).toBe(0x100070n);
});

it('flags give back the protection and the words that they were made of', () => {
  for (let protection = 0; protection < 8; protection++) {
    for (let mask = 0; mask < 1 << words.length; mask++) {
      const some = words.filter((_, index) => (mask >> index) & 1);
      const flags = privateFlags({ protection, words: some });
      expect(flagsFault(flags)).toBe(undefined);
      expect(protectionOf(flags)).toBe(protection);
      expect(wordsOf(flags)).toEqual(some);
    }
  }
});

it('only private memory is taken', () => {
  for (const name of ['SHARED', 'MAYSHARE', 'IO', 'PFNMAP', 'HUGETLB', 'NONLINEAR', 'GROWSUP', 'RESERVED'] as const) {
    expect(flagsFault(privateFlags({ protection: 3, words: [] }) | BigInt(VM[name]))).toContain(`VM_${name}`);
  }
  expect(flagsFault(0x8000_0000n)).toContain('unknown bits 0x80000000');
  expect(flagsFault(1n << 63n)).toContain('unknown');
});

it('a page is readable, not writable, and executable only where the memory is', () => {
  expect([0, 1, 2, 3].map(pageProtOf)).toEqual([0x120n, ...Array.from({ length: 3 }, () => 0x8000_0000_0000_0025n)]);
  expect([4, 5, 6, 7].map(pageProtOf)).toEqual(Array.from({ length: 4 }, () => 0x25n));
  // A kernel without PAE cannot forbid execution.
  expect(isPageProtOf(0x25n, 3)).toBe(true);
  expect(isPageProtOf(0x27n, 3)).toBe(false);
  expect(isPageProtOf(0x120n, 1)).toBe(false);
});

it('words of later kernels are lost, told or refused', () => {
  expect(lostWords(['lo', 'hg', 'dd', 'wf', 'xx'])).toEqual({
    needed: ['wiping on fork (MADV_WIPEONFORK)', 'the flag "xx"'],
    hints: ['its wish for huge pages', 'that it is left out of core dumps'],
  });
});
