/** System V shared memory segments, by their ids: shmat(2), shmdt(2), shmctl(2). */
import { type LocalAddress, localAddress } from '../../support/brand.ts';
import { SHM, shmAbi } from '../abi/shm.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';
import { structOf } from '../struct.ts';

const shmid = structOf(shmAbi.structs.shmid_ds);

/** In our own memory, until {@link detachSegment}. */
export function attachSegment(id: number): LocalAddress {
  const address = rawSyscall(SYS.shmat, id, 0, 0);
  return localAddress(check('shmat', address, { doing: `attach the System V segment ${id}` }));
}

export function detachSegment(address: LocalAddress): void {
  check('shmdt', rawSyscall(SYS.shmdt, address), { doing: 'detach a System V segment' });
}

/** It is gone when nobody has it attached any more. */
export function removeSegment(id: number): void {
  check('shmctl', rawSyscall(SYS.shmctl, id, SHM.IPC_RMID, 0), { doing: `remove the System V segment ${id}` });
}

/** `mode`: permission bits. */
export function setSegmentOwner(id: number, owner: { readonly uid: number; readonly gid: number }, mode: number): void {
  newCall();
  const block = scratch(shmid.size);
  shmid.write(block.view, 0, { 'shm_perm.uid': owner.uid, 'shm_perm.gid': owner.gid, 'shm_perm.mode': mode });
  const result = rawSyscall(SYS.shmctl, id, SHM.IPC_SET, block.address);
  check('shmctl', result, { doing: `set owner and mode of the System V segment ${id}` });
}

export function lockSegment(id: number, locked: boolean): void {
  const result = rawSyscall(SYS.shmctl, id, locked ? SHM.SHM_LOCK : SHM.SHM_UNLOCK, 0);
  check('shmctl', result, { doing: `${locked ? 'lock' : 'unlock'} the System V segment ${id}` });
}
