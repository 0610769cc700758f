import { describe, expect, it } from 'vitest';
import { MADV, MAP } from '../../../src/kernel/abi/mman.ts';
import {
  adviceOf,
  isSealed,
  lockingOf,
  mmapFlagsOf,
  refusedWords,
  wordsToKeep,
} from '../../../src/resources/vm-flags.ts';

/** Every word of Documentation/filesystems/proc.rst ("VmFlags") and of show_smap_vma_flags() that x86-64 can print. */
const words = {
  derived: ['rd', 'wr', 'ex', 'sh', 'mr', 'mw', 'me', 'ms', 'pf', 'dw', 'io', 'de', 'ac', 'sd', 'mm', 'gu', 'dp'],
  setAgain: ['sr', 'rr', 'dc', 'dd', 'wf', 'hg', 'nh', 'mg', 'gd', 'nr', 'lo', 'lf'],
  refused: ['ht', 'um', 'uw', 'ui', 'ss', 'sf', 'wp', 'ar', 'nl'],
};

describe('a word of VmFlags', () => {
  it.each(words.derived)('"%s" comes by itself and is not kept', (word) => {
    expect(wordsToKeep(['hg', word])).toEqual(['hg']);
    expect(refusedWords([word])).toEqual([]);
    expect([mmapFlagsOf([word]), adviceOf([word]), lockingOf([word])]).toEqual([0, [], 'none']);
  });

  it.each(words.setAgain)('"%s" is kept, and set again in one way', (word) => {
    expect(wordsToKeep([word])).toEqual([word]);
    expect(refusedWords([word])).toEqual([]);
    const ways = [mmapFlagsOf([word]) !== 0, adviceOf([word]).length === 1, lockingOf([word]) !== 'none'];
    expect(ways.filter(Boolean)).toHaveLength(1);
  });

  it.each(words.refused)('"%s" is refused with what it means', (word) => {
    const [reason = ''] = refusedWords([word]);
    expect(reason).not.toBe('');
    expect(reason).not.toContain('does not know');
    expect(wordsToKeep([word])).toEqual([word]);
  });

  it.each(['zz', 'bt', 'mt', '', 'rdx', 'RD', '__proto__'])('"%s" that nobody knows is refused by name', (word) => {
    expect(refusedWords(['rd', word])).toEqual([`the flag "${word}", which this version does not know`]);
    expect(wordsToKeep(['rd', word])).toEqual([word]);
  });

  it.each([
    ['sr', MADV.MADV_SEQUENTIAL],
    ['rr', MADV.MADV_RANDOM],
    ['dc', MADV.MADV_DONTFORK],
    ['dd', MADV.MADV_DONTDUMP],
    ['wf', MADV.MADV_WIPEONFORK],
    ['hg', MADV.MADV_HUGEPAGE],
    ['nh', MADV.MADV_NOHUGEPAGE],
    ['mg', MADV.MADV_MERGEABLE],
  ])('"%s" is the advice %d of madvise(2)', (word, advice) => {
    expect(adviceOf([word])).toEqual([advice]);
  });

  it.each([
    ['gd', MAP.MAP_GROWSDOWN],
    ['nr', MAP.MAP_NORESERVE],
  ])('"%s" is the flag %d of mmap(2)', (word, flag) => {
    expect(mmapFlagsOf([word])).toBe(flag);
  });
});

describe('the words of one mapping', () => {
  const stack = ['rd', 'wr', 'mr', 'mw', 'me', 'gd', 'ac'];
  const tuned = ['rd', 'mr', 'gd', 'nr', 'dc', 'dd', 'lo'];

  it('are each set again', () => {
    expect(mmapFlagsOf(tuned)).toBe(MAP.MAP_GROWSDOWN | MAP.MAP_NORESERVE);
    expect(adviceOf(tuned)).toEqual([MADV.MADV_DONTFORK, MADV.MADV_DONTDUMP]);
    expect(lockingOf(tuned)).toBe('all');
    expect(wordsToKeep(tuned)).toEqual(['gd', 'nr', 'dc', 'dd', 'lo']);
  });

  it('lock pages only on fault when both words are there, as mlock2(2) leaves it', () => {
    expect(lockingOf(['lo', 'lf'])).toBe('on-fault');
    expect(lockingOf(['lf', 'lo'])).toBe('on-fault');
    expect(lockingOf(stack)).toBe('none');
  });

  it('are all refused by name, not just the first', () => {
    expect(refusedWords(['rd', 'ht', 'zz', 'ss'])).toEqual([
      'huge pages of hugetlbfs that are private and of a file',
      'the flag "zz", which this version does not know',
      'a shadow stack',
    ]);
  });

  it('may be those of a kind of mapping, which are not kept', () => {
    expect(refusedWords(['rd', 'ht', 'ss'], ['ht'])).toEqual(['a shadow stack']);
    expect(wordsToKeep(['rd', 'ht', 'nr'], ['ht'])).toEqual(['nr']);
  });

  it('keep a seal, which is set last', () => {
    expect(wordsToKeep(['rd', 'sl'])).toEqual(['sl']);
    expect([isSealed(['rd', 'sl']), isSealed(['rd'])]).toEqual([true, false]);
    expect(refusedWords(['sl'])).toEqual([]);
  });

  it('of a stack are no reason to refuse it', () => {
    expect(refusedWords(stack)).toEqual([]);
    expect(wordsToKeep(stack)).toEqual(['gd']);
  });

  it('of this process are all known', async () => {
    const { readSmaps } = await import('../../../src/procfs/smaps.ts');
    const { asPid } = await import('../../../src/support/brand.ts');
    const seen = new Set(readSmaps(asPid(process.pid)).flatMap(({ vmFlags }) => vmFlags));
    expect([...seen]).toEqual(expect.arrayContaining(['rd', 'wr', 'ex', 'mr', 'mw', 'me', 'gd']));
    expect(refusedWords([...seen]).filter((reason) => reason.includes('does not know'))).toEqual([]);
  });
});
