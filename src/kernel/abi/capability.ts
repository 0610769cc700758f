/** capabilities(7), capset(2). */
import { defineAbi } from './define-abi.ts';

export const CAP = {
  CAP_SETGID: 6,
  CAP_SETUID: 7,
  CAP_SETPCAP: 8,
  CAP_NET_ADMIN: 12,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_LAST_CAP: 40,
} as const;

export const SECBIT = {
  SECBIT_NO_SETUID_FIXUP: 0x4,
  SECBIT_KEEP_CAPS: 0x10,
} as const;

const VERSION = { _LINUX_CAPABILITY_VERSION_3: 0x20080522 } as const;

export const capabilityAbi = defineAbi({
  headers: ['linux/capability.h', 'linux/securebits.h'],
  constants: { ...CAP, ...SECBIT, ...VERSION },
  structs: {
    user_cap_header: {
      cType: 'struct __user_cap_header_struct',
      size: 8,
      fields: { version: [0, 'u32'], pid: [4, 'i32'] },
    },
    user_cap_data: {
      cType: 'struct __user_cap_data_struct',
      size: 12,
      fields: { effective: [0, 'u32'], permitted: [4, 'u32'], inheritable: [8, 'u32'] },
    },
  },
});

export const LINUX_CAPABILITY_VERSION_3 = VERSION._LINUX_CAPABILITY_VERSION_3;
