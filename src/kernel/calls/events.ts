/** Counters and interest lists of our own, and questions to somebody else's: eventfd(2), epoll(7), poll(2), kcmp(2). */
import type { LocalFd, Pid, RemoteFd } from '../../support/brand.ts';
import { KCMP } from '../abi/fs.ts';
import { EPIOC, POLL } from '../abi/poll.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';

/** An eventfd with this counter. eventfd2 takes 32 bits of it only, a write all 64. */
export function makeEventfd(count: bigint, flags: number): OwnedFd {
  const doing = { doing: 'make an eventfd' };
  const eventfd = new OwnedFd(check('eventfd2', rawSyscall(SYS.eventfd2, 0, flags), doing));
  newCall();
  const value = scratch(8);
  value.view.setBigUint64(0, count, true);
  check('write', rawSyscall(SYS.write, eventfd.number, value.address, 8), doing);
  return eventfd;
}

/** An epoll without entries, close-on-exec. */
export const makeEpoll = (): OwnedFd =>
  new OwnedFd(check('epoll_create1', rawSyscall(SYS.epoll_create1, POLL.EPOLL_CLOEXEC), { doing: 'make an epoll' }));

/** How an epoll polls network devices. */
export interface BusyPolling {
  readonly microseconds: number;
  readonly budget: number;
  readonly preferred: number;
}

const PARAMS_SIZE = 8;

/** EPIOCGPARAMS. A kernel that does not know it polls none. */
export function busyPollingOf(epoll: LocalFd): BusyPolling {
  newCall();
  const params = scratch(PARAMS_SIZE);
  rawSyscall(SYS.ioctl, epoll, EPIOC.EPIOCGPARAMS, params.address);
  const { view } = params;
  return { microseconds: view.getUint32(0, true), budget: view.getUint16(4, true), preferred: view.getUint8(6) };
}

export function setBusyPolling(epoll: LocalFd, { microseconds, budget, preferred }: BusyPolling): void {
  newCall();
  const params = scratch(PARAMS_SIZE);
  params.view.setUint32(0, microseconds, true);
  params.view.setUint16(4, budget, true);
  params.view.setUint8(6, preferred);
  const result = rawSyscall(SYS.ioctl, epoll, EPIOC.EPIOCSPARAMS, params.address);
  check('ioctl', result, { doing: 'set the busy polling of an epoll' });
}

/**
 * kcmp(2), KCMP_EPOLL_TFD: is what `watched` of the process stands for now the one that entry number `offset` with the
 * number `entry` was made for? False also where one of them is gone.
 */
export function isWatchedBy(pid: Pid, watched: RemoteFd, epoll: RemoteFd, entry: number, offset: number): boolean {
  newCall();
  const slot = scratch(12);
  slot.view.setUint32(0, epoll, true);
  slot.view.setUint32(4, entry, true);
  slot.view.setUint32(8, offset, true);
  return rawSyscall(SYS.kcmp, pid, pid, KCMP.KCMP_EPOLL_TFD, watched, slot.address) === 0;
}

/** poll(2) without waiting: is there anything at all to report? */
export function hasEvents(fd: LocalFd): boolean {
  newCall();
  const entry = scratch(8);
  entry.view.setInt32(0, fd, true);
  entry.view.setInt16(4, POLL.POLLIN | POLL.POLLPRI | POLL.POLLOUT | POLL.POLLRDHUP, true);
  const result = rawSyscall(SYS.poll, entry.address, 1, 0);
  return !isFailure(result) && result > 0;
}

/** poll(2): a write would not have to wait. */
export function isWritable(fd: LocalFd): boolean {
  newCall();
  const entry = scratch(8);
  entry.view.setInt32(0, fd, true);
  entry.view.setInt16(4, POLL.POLLOUT, true);
  const result = rawSyscall(SYS.poll, entry.address, 1, 0);
  return !isFailure(result) && (entry.view.getInt16(6, true) & POLL.POLLOUT) !== 0;
}

/** poll(2): its other end has been open, and is so no more. */
export function hasHungUp(fd: LocalFd): boolean {
  newCall();
  const entry = scratch(8);
  entry.view.setInt32(0, fd, true);
  const result = rawSyscall(SYS.poll, entry.address, 1, 0);
  return !isFailure(result) && (entry.view.getInt16(6, true) & POLL.POLLHUP) !== 0;
}
