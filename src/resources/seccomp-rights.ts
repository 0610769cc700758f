/** Who may read seccomp filters of others, and suspend them: ptrace(2), PTRACE_O_SUSPEND_SECCOMP. */
import { readlinkSync } from 'node:fs';
import { CAP } from '../kernel/abi/capability.ts';
import { SECCOMP } from '../kernel/abi/seccomp.ts';
import type { ProcessStatus } from '../procfs/status.ts';

/** PROC_USER_INIT_INO of include/linux/nsfs.h: the inode number of the first user namespace, on every kernel. */
const FIRST_USER_NAMESPACE = 'user:[4026531837]';

/** The status is that of this command, and the capability counts in the first user namespace only. */
export const maySuspendSeccomp = ({ capEffective, seccompMode = 0 }: ProcessStatus): boolean =>
  ((capEffective >> BigInt(CAP.CAP_SYS_ADMIN)) & 1n) === 1n &&
  seccompMode === SECCOMP.SECCOMP_MODE_DISABLED &&
  readlinkSync('/proc/self/ns/user') === FIRST_USER_NAMESPACE;
