/** This process becomes another program: execve(2). Its other threads end, its children stay. */
import type { LocalFd } from '../../support/brand.ts';
import { PR } from '../abi/prctl.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { cString, newCall, scratch } from '../scratch.ts';

/** From now on we outlive our parent (PR_SET_PDEATHSIG of prctl(2)). */
export function outliveParent(): void {
  check('prctl', rawSyscall(SYS.prctl, PR.PR_SET_PDEATHSIG, 0), { doing: 'outlive the parent' });
}

/** Returns only by throwing. No arguments but its name, no environment. */
export function becomeProgram(executable: LocalFd, name: string): never {
  newCall();
  const path = cString(`/proc/self/fd/${executable}`);
  const argv = scratch(16);
  argv.view.setBigUint64(0, BigInt(cString(name).address), true);
  const environment = argv.address + 8;
  check('execve', rawSyscall(SYS.execve, path.address, argv.address, environment), { doing: `become ${name}` });
  throw new Error('execve(2) has returned');
}
