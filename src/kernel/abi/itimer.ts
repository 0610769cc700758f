/** Timers and clocks: setitimer(2), timer_create(2), timerfd_create(2), clock_nanosleep(2). */
import { defineAbi } from './define-abi.ts';

export const ITIMER = {
  ITIMER_REAL: 0,
  ITIMER_VIRTUAL: 1,
  ITIMER_PROF: 2,
} as const;

export const CLOCK = {
  CLOCK_REALTIME: 0,
  CLOCK_MONOTONIC: 1,
  CLOCK_PROCESS_CPUTIME_ID: 2,
  CLOCK_THREAD_CPUTIME_ID: 3,
  CLOCK_MONOTONIC_RAW: 4,
  CLOCK_REALTIME_COARSE: 5,
  CLOCK_MONOTONIC_COARSE: 6,
  CLOCK_BOOTTIME: 7,
  CLOCK_REALTIME_ALARM: 8,
  CLOCK_BOOTTIME_ALARM: 9,
  CLOCK_TAI: 11,
  TIMER_ABSTIME: 1,
} as const;

export const TFD = {
  TFD_CLOEXEC: 524288,
  TFD_NONBLOCK: 2048,
  TFD_TIMER_ABSTIME: 1,
  TFD_TIMER_CANCEL_ON_SET: 2,
  TFD_IOC_SET_TICKS: 0x40085400,
} as const;

export const itimerAbi = defineAbi({
  headers: ['sys/time.h', 'time.h', 'sys/timerfd.h', 'linux/timerfd.h', 'sys/ioctl.h'],
  constants: { ...ITIMER, ...CLOCK, ...TFD },
  structs: {
    timeval: {
      size: 16,
      fields: {
        tv_sec: [0, 'i64'],
        tv_usec: [8, 'i64'],
      },
    },
    timespec: {
      size: 16,
      fields: {
        tv_sec: [0, 'i64'],
        tv_nsec: [8, 'i64'],
      },
    },
    itimerval: {
      size: 32,
      fields: {
        'it_interval.tv_sec': [0, 'i64'],
        'it_interval.tv_usec': [8, 'i64'],
        'it_value.tv_sec': [16, 'i64'],
        'it_value.tv_usec': [24, 'i64'],
      },
    },
    itimerspec: {
      size: 32,
      fields: {
        'it_interval.tv_sec': [0, 'i64'],
        'it_interval.tv_nsec': [8, 'i64'],
        'it_value.tv_sec': [16, 'i64'],
        'it_value.tv_nsec': [24, 'i64'],
      },
    },
  },
});
