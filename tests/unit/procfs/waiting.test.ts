import { describe, expect, it } from 'vitest';
import { parseWaiting } from '../../../src/procfs/waiting.ts';

describe('where a task waits', () => {
  it('is its call, its stack, its next instruction and the function of the kernel', () => {
    const text = '219 0x55e4 0x9 0x0 0x55e469 0x0 0xffffffffffffffff 0x7fd01490feb8 0x7fd016218829\n';
    expect(parseWaiting(text, 'futex_do_wait')).toEqual({
      call: 219,
      stackPointer: 0x7fd01490feb8n,
      instructionPointer: 0x7fd016218829n,
      function: 'futex_do_wait',
    });
  });

  it.each(['running\n', '-1 0x7ffc8 0x55d4\n', ''])('is not known of "%s"', (text) => {
    expect(parseWaiting(text, '0')).toBeUndefined();
  });
});
