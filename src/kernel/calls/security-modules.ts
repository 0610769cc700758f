/** What the kernel's security modules are, and whether Landlock is one of them: lsm_list_modules(2), landlock_create_ruleset(2). */
import { LSM, lsmAbi } from '../abi/lsm.ts';
import { SYS } from '../abi/syscall.ts';
import { isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

/** A program may sandbox itself with Landlock here (Linux 5.13). */
export const hasLandlock = (): boolean =>
  rawSyscall(SYS.landlock_create_ruleset, 0, 0, lsmAbi.constants.LANDLOCK_CREATE_RULESET_VERSION) > 0;

const MOST_MODULES = 64;

/** LSM_ID_* in the order in which they are asked. Undefined before Linux 6.8. */
export function tryListModules(): number[] | undefined {
  newCall();
  const ids = scratch(8 * MOST_MODULES);
  const size = scratch(8);
  size.view.setUint32(0, 8 * MOST_MODULES, true);
  const count = rawSyscall(SYS.lsm_list_modules, ids.address, size.address, 0);
  if (isFailure(count)) return undefined;
  return Array.from({ length: count }, (_, index) => Number(ids.view.getBigUint64(8 * index, true)));
}

/** Those that keep something with the credentials of a task; each puts it behind that of the ones before it. */
export const KEEPS_CREDENTIALS: readonly number[] = [
  LSM.LSM_ID_SELINUX,
  LSM.LSM_ID_SMACK,
  LSM.LSM_ID_TOMOYO,
  LSM.LSM_ID_APPARMOR,
  LSM.LSM_ID_LANDLOCK,
];
