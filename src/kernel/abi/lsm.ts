/** Security modules by their numbers, and what of Landlock is asked: lsm_list_modules(2), landlock_create_ruleset(2). */
import { defineAbi } from './define-abi.ts';

/** Linux 6.8, linux/lsm.h */
export const LSM = {
  LSM_ID_CAPABILITY: 100,
  LSM_ID_SELINUX: 101,
  LSM_ID_SMACK: 102,
  LSM_ID_TOMOYO: 103,
  LSM_ID_APPARMOR: 104,
  LSM_ID_YAMA: 105,
  LSM_ID_LOADPIN: 106,
  LSM_ID_SAFESETID: 107,
  LSM_ID_LOCKDOWN: 108,
  LSM_ID_BPF: 109,
  LSM_ID_LANDLOCK: 110,
  LSM_ID_IMA: 111,
  LSM_ID_EVM: 112,
  LSM_ID_IPE: 113,
} as const;

export const lsmAbi = defineAbi({
  // Younger than the headers of some systems: compared where they have it.
  headers: ['linux/types.h', 'linux/landlock.h'],
  constants: { LANDLOCK_CREATE_RULESET_VERSION: 1, ...LSM },
  unlisted: { ...LSM },
});
