/** poll(2), epoll(7), eventfd(2), signalfd(2), inotify(7). */
import { defineAbi } from './define-abi.ts';

export const POLL = {
  POLLIN: 0x1,
  POLLPRI: 0x2,
  POLLOUT: 0x4,
  POLLERR: 0x8,
  POLLHUP: 0x10,
  POLLNVAL: 0x20,
  POLLRDHUP: 0x2000,
  EPOLLIN: 0x1,
  EPOLLPRI: 0x2,
  EPOLLOUT: 0x4,
  EPOLLRDHUP: 0x2000,
  EPOLLET: 0x80000000,
  EPOLLONESHOT: 0x40000000,
  EPOLLEXCLUSIVE: 0x10000000,
  EPOLLWAKEUP: 0x20000000,
  EPOLL_CTL_ADD: 0x1,
  EPOLL_CTL_DEL: 0x2,
  EPOLL_CTL_MOD: 0x3,
  EPOLL_CLOEXEC: 0x80000,
} as const;

/** ioctl(2) on an epoll, Linux 6.9. */
export const EPIOC = {
  EPIOCSPARAMS: 0x40088a01,
  EPIOCGPARAMS: 0x80088a02,
} as const;

export const EVENTFD = {
  EFD_SEMAPHORE: 0x1,
  EFD_CLOEXEC: 0x80000,
  EFD_NONBLOCK: 0x800,
  SFD_CLOEXEC: 0x80000,
  SFD_NONBLOCK: 0x800,
  IN_CLOEXEC: 0x80000,
  IN_NONBLOCK: 0x800,
} as const;

export const pollAbi = defineAbi({
  headers: ['poll.h', 'sys/epoll.h', 'sys/eventfd.h', 'sys/signalfd.h', 'sys/inotify.h'],
  constants: { ...POLL, ...EPIOC, ...EVENTFD },
  unlisted: EPIOC,
  structs: {
    pollfd: {
      size: 8,
      fields: {
        fd: [0, 'i32'],
        events: [4, 'i16'],
        revents: [6, 'i16'],
      },
    },
    epoll_event: {
      size: 12,
      fields: {
        events: [0, 'u32'],
        'data.u64': [4, 'u64'],
      },
    },
    /** Linux 6.9, linux/eventpoll.h. */
    epoll_params: {
      guard: 'EPIOCSPARAMS',
      definition:
        'struct epoll_params { unsigned busy_poll_usecs; unsigned short busy_poll_budget; unsigned char prefer_busy_poll, __pad; };',
      size: 8,
      fields: {
        busy_poll_usecs: [0, 'u32'],
        busy_poll_budget: [4, 'u16'],
        prefer_busy_poll: [6, 'u8'],
      },
    },
  },
});
