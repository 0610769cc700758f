import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../src/kernel/abi/errno.ts';
import { PROT } from '../../../src/kernel/abi/mman.ts';
import { CallBatch } from '../../../src/tracee/call-batch.ts';
import {
  askForProtectionKeys,
  giveBackProtectionKeys,
  type ProtectionKeys,
  takeProtectionKeys,
} from '../../../src/tracee/protection-keys.ts';
import { FakeTask, type MadeCall } from './fake-task.ts';

/** A process of a kernel that has protection keys: mm_pkey_alloc() and execute_only_pkey() in arch/x86. */
class Keys {
  readonly taken = new Set([0]);
  executeOnly = 0;

  readonly answer = ({ name, args }: MadeCall): number => {
    const [first = 0, , third = 0, fourth = 0] = args;
    if (name === 'pkey_mprotect')
      return this.taken.has(fourth) && fourth !== this.executeOnly ? -ERRNO.ENOMEM : -ERRNO.EINVAL;
    if (name === 'pkey_alloc') return this.take();
    if (name === 'pkey_free') return this.taken.delete(first) ? 0 : -ERRNO.EINVAL;
    if (name === 'mmap' && third === PROT.PROT_EXEC) {
      if (this.executeOnly === 0) this.executeOnly = this.take();
      return 0x7000_0000;
    }
    return 0;
  };

  take(): number {
    const free = Array.from({ length: 16 }, (_, key) => key).find((key) => !this.taken.has(key)) ?? -ERRNO.ENOSPC;
    this.taken.add(free);
    return free;
  }
}

const keysOf = (keys: Keys, mappings: Parameters<typeof askForProtectionKeys>[1] = []): ProtectionKeys => {
  const batch = new CallBatch(new FakeTask(keys.answer));
  const asked = askForProtectionKeys(batch, mappings);
  batch.run();
  return asked();
};

describe('the protection keys of a process', () => {
  it('are those that pkey_mprotect takes', () => {
    const keys = new Keys();
    keys.taken.add(2).add(15);
    expect(keysOf(keys)).toEqual({ allocated: (1 << 2) | (1 << 15), executeOnly: 0 });
  });

  it('are asked for where no memory is, so that nothing changes', () => {
    const task = new FakeTask(() => -ERRNO.EINVAL);
    const batch = new CallBatch(task);
    askForProtectionKeys(batch, []);
    batch.run();
    expect(task.made).toHaveLength(15);
    expect(task.made.every(({ args: [start = 0] }) => start >= 2 ** 56)).toBe(true);
  });

  it('are none on a processor without them', () => {
    expect(keysOf(Object.assign(new Keys(), { taken: new Set<number>() }))).toEqual({ allocated: 0, executeOnly: 0 });
  });

  it('has the kernel taken one of for memory that can only be executed', () => {
    const keys = new Keys();
    keys.taken.add(1).add(2);
    keys.executeOnly = 2;
    const mappings = [
      { protectionKey: 1, isExecuteOnly: true },
      { protectionKey: 3, isExecuteOnly: false },
      { protectionKey: 2, isExecuteOnly: true },
    ];
    expect(keysOf(keys, mappings)).toEqual({ allocated: 2, executeOnly: 2 });
  });
});

describe('protection keys of an image', () => {
  const restored = (
    wanted: ProtectionKeys,
    used: readonly number[],
  ): { keys: Keys; between: number[]; names: string[] } => {
    const keys = new Keys();
    const task = new FakeTask(keys.answer);
    const batch = new CallBatch(task);
    takeProtectionKeys(batch, wanted, used);
    const between = [...keys.taken];
    giveBackProtectionKeys(batch, wanted, used);
    return { keys, between, names: task.made.map(({ name }) => name) };
  };

  it('get their numbers, and what was between them is given back', () => {
    const { keys, between } = restored({ allocated: (1 << 2) | (1 << 5), executeOnly: 0 }, [0, 2]);
    expect(between).toEqual([0, 1, 2, 3, 4, 5]);
    expect([...keys.taken]).toEqual([0, 2, 5]);
  });

  it('are there for mappings that have kept a key which was given back', () => {
    const { keys, between } = restored({ allocated: 0, executeOnly: 0 }, [3]);
    expect(between).toContain(3);
    expect([...keys.taken]).toEqual([0]);
  });

  it('leave the kernel its own', () => {
    const { keys, names } = restored({ allocated: 1 << 1, executeOnly: 3 }, []);
    expect(keys.executeOnly).toBe(3);
    expect([...keys.taken].sort()).toEqual([0, 1, 3]);
    expect(names).toEqual(['pkey_alloc', 'pkey_alloc', 'mmap', 'munmap', 'pkey_free']);
  });

  it('cost no call where there are none', () => {
    expect(restored({ allocated: 0, executeOnly: 0 }, [0, 0]).names).toEqual([]);
  });

  it('are refused by a kernel that gives another', () => {
    const batch = new CallBatch(new FakeTask(() => 7));
    expect(() => takeProtectionKeys(batch, { allocated: 2, executeOnly: 0 }, [])).toThrow(/no protection key 1/);
  });
});
