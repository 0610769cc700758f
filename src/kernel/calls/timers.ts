/** Timers and signals behind descriptors, and the clocks: timerfd_create(2), signalfd(2), clock_gettime(2). */
import type { LocalFd } from '../../support/brand.ts';
import { TFD } from '../abi/itimer.ts';
import { PR } from '../abi/prctl.ts';
import { SYS } from '../abi/syscall.ts';
import { check, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { OwnedFd } from '../owned-fd.ts';
import { newCall, scratch } from '../scratch.ts';

const NS_PER_SECOND = 1_000_000_000n;

/** struct itimerspec, in nanoseconds. */
export interface TimerSetting {
  readonly intervalNs: bigint;
  /** Until it expires, or when; 0: it is not armed. */
  readonly valueNs: bigint;
}

export function makeTimerfd(clockId: number): OwnedFd {
  const made = rawSyscall(SYS.timerfd_create, clockId, TFD.TFD_CLOEXEC);
  return new OwnedFd(check('timerfd_create', made, { doing: 'make a timerfd' }));
}

/** `flags`: TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET. */
export function setTimerfd(timerfd: LocalFd, setting: TimerSetting, flags: number): void {
  newCall();
  const block = scratch(32);
  block.bytes.set(encodeTimerSetting(setting));
  const set = rawSyscall(SYS.timerfd_settime, timerfd, flags, block.address, 0);
  check('timerfd_settime', set, { doing: 'set a timerfd' });
}

/** How often it has expired and nobody has read it: TFD_IOC_SET_TICKS, CONFIG_CHECKPOINT_RESTORE. */
export function setTicks(timerfd: LocalFd, ticks: bigint): void {
  newCall();
  const value = scratch(8);
  value.view.setBigUint64(0, ticks, true);
  const set = rawSyscall(SYS.ioctl, timerfd, TFD.TFD_IOC_SET_TICKS, value.address);
  check('ioctl', set, { doing: 'set the ticks of a timerfd' });
}

/** `mask`: bit n-1 is signal n. */
export function makeSignalfd(mask: bigint): OwnedFd {
  newCall();
  const block = scratch(8);
  block.view.setBigUint64(0, mask, true);
  const SFD_CLOEXEC = TFD.TFD_CLOEXEC;
  const made = rawSyscall(SYS.signalfd4, -1, block.address, 8, SFD_CLOEXEC);
  return new OwnedFd(check('signalfd4', made, { doing: 'make a signalfd' }));
}

export function timeOf(clockId: number): bigint {
  newCall();
  const time = scratch(16);
  check('clock_gettime', rawSyscall(SYS.clock_gettime, clockId, time.address), { doing: `read clock ${clockId}` });
  return time.view.getBigInt64(0, true) * NS_PER_SECOND + time.view.getBigInt64(8, true);
}

export function encodeTimerSetting({ intervalNs, valueNs }: TimerSetting): Buffer {
  const bytes = Buffer.alloc(32);
  bytes.writeBigInt64LE(intervalNs / NS_PER_SECOND, 0);
  bytes.writeBigInt64LE(intervalNs % NS_PER_SECOND, 8);
  bytes.writeBigInt64LE(valueNs / NS_PER_SECOND, 16);
  bytes.writeBigInt64LE(valueNs % NS_PER_SECOND, 24);
  return bytes;
}

export const decodeTimerSetting = (bytes: Buffer): TimerSetting => ({
  intervalNs: bytes.readBigInt64LE(0) * NS_PER_SECOND + bytes.readBigInt64LE(8),
  valueNs: bytes.readBigInt64LE(16) * NS_PER_SECOND + bytes.readBigInt64LE(24),
});

/** PR_TIMER_CREATE_RESTORE_IDS of prctl(2), Linux 6.15: timers are made with the numbers that one asks for. */
export const timersMayChooseNumbers = (): boolean =>
  !isFailure(rawSyscall(SYS.prctl, PR.PR_TIMER_CREATE_RESTORE_IDS, PR_GET, 0, 0, 0));

/** PR_TIMER_CREATE_RESTORE_IDS_GET */
const PR_GET = 2;
