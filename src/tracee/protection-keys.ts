/**
 * Protection keys of a process (pkeys(7)): which are allocated, and which one the kernel has taken for memory that can only be
 * executed (mprotect(2)). The rights of each thread are in PKRU, a part of its xstate.
 */
import { ERRNO } from '../kernel/abi/errno.ts';
import { MAP, PROT } from '../kernel/abi/mman.ts';
import { SYS } from '../kernel/abi/syscall.ts';
import { check } from '../kernel/errors.ts';
import { QuicksaveError } from '../support/errors.ts';
import type { CallBatch } from './call-batch.ts';

/** Key 0 is every mapping's unless it is given another. */
const KEYS = Array.from({ length: 15 }, (_, index) => index + 1);
const PAGE = 4096;
/** Behind user space, also of five levels of page tables: nothing is ever mapped there. */
const NOWHERE = 2 ** 56;

/** Allocated; not, or a processor without keys; a kernel without them. */
const ANSWERS: ReadonlySet<number> = new Set([-ERRNO.ENOMEM, -ERRNO.EINVAL, -ERRNO.ENOSYS]);

export interface ProtectionKeys {
  /** Bit n: key n is allocated, as pkey_alloc(2) does it. */
  readonly allocated: number;
  /** 0 for none. */
  readonly executeOnly: number;
}

export const noProtectionKeys: ProtectionKeys = { allocated: 0, executeOnly: 0 };

const isIn = (mask: number, key: number): boolean => (mask & (1 << key)) !== 0;

/** All up to the highest that there is. */
function neededKeys({ allocated, executeOnly }: ProtectionKeys, used: readonly number[]): number[] {
  const highest = Math.max(0, executeOnly, ...used, ...KEYS.filter((key) => isIn(allocated, key)));
  return KEYS.filter((key) => key <= highest);
}

/**
 * Adds the questions: pkey_mprotect(2) looks whether the key is allocated before it looks for memory, so that it says EINVAL or
 * ENOMEM and changes nothing. A key that is on a mapping which can only be executed, and is not allocated, is the kernel's.
 */
export function askForProtectionKeys(
  batch: CallBatch,
  mappings: readonly { readonly protectionKey: number | undefined; readonly isExecuteOnly: boolean }[],
): () => ProtectionKeys {
  const asked = KEYS.map((key) => ({
    key,
    call: batch.tryCall('look for a protection key', SYS.pkey_mprotect, NOWHERE, PAGE, PROT.PROT_NONE, key),
  }));
  return () => {
    for (const { call } of asked)
      if (!ANSWERS.has(call.result)) check('pkey_mprotect', call.result, { doing: call.doing, pid: batch.pid });
    const allocated = asked
      .filter(({ call }) => call.result === -ERRNO.ENOMEM)
      .reduce((mask, { key }) => mask | (1 << key), 0);
    const own = mappings.find(
      ({ isExecuteOnly, protectionKey = 0 }) => isExecuteOnly && protectionKey !== 0 && !isIn(allocated, protectionKey),
    );
    return { allocated, executeOnly: own?.protectionKey ?? 0 };
  };
}

/**
 * Takes every key up to the highest that is needed: the kernel gives the lowest that is free. `used` are those of mappings,
 * which may have a key that was given back since. Runs the batch.
 */
export function takeProtectionKeys(
  batch: CallBatch,
  { allocated, executeOnly }: ProtectionKeys,
  used: readonly number[],
): void {
  for (const key of neededKeys({ allocated, executeOnly }, used)) {
    if (key === executeOnly) takeExecuteOnly(batch);
    else takeKey(batch, key);
  }
}

function takeKey(batch: CallBatch, key: number): void {
  const taken = batch.call('allocate a protection key', SYS.pkey_alloc, 0, 0);
  batch.run();
  if (taken.result !== key) throw new QuicksaveError('protection-key', `The kernel gives no protection key ${key}.`);
}

/** The first mapping that can only be executed makes the kernel take a key for all of them, which it keeps. */
function takeExecuteOnly(batch: CallBatch): void {
  const page = batch.call(
    'map a page that can only be executed',
    SYS.mmap,
    0,
    PAGE,
    PROT.PROT_EXEC,
    MAP.MAP_PRIVATE | MAP.MAP_ANONYMOUS,
    -1,
    0,
  );
  batch.run();
  batch.call('unmap it', SYS.munmap, page.result, PAGE);
  batch.run();
}

/** Gives back what was only taken so that others got their numbers, when all mappings have theirs. Runs the batch. */
export function giveBackProtectionKeys(
  batch: CallBatch,
  { allocated, executeOnly }: ProtectionKeys,
  used: readonly number[],
): void {
  for (const key of neededKeys({ allocated, executeOnly }, used)) {
    if (key === executeOnly || isIn(allocated, key)) continue;
    batch.call('give a protection key back', SYS.pkey_free, key);
  }
  batch.run();
}
