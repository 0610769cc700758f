/** inotify(7). */
import { defineAbi } from './define-abi.ts';

export const INOTIFY = {
  IN_DONT_FOLLOW: 0x0200_0000,
  IN_EXCL_UNLINK: 0x0400_0000,
  IN_ONESHOT: 0x8000_0000,
  IN_ALL_EVENTS: 0xfff,
  IN_CLOEXEC: 0x80000,
} as const;

export const inotifyAbi = defineAbi({
  headers: ['linux/fcntl.h', 'linux/inotify.h'],
  constants: { ...INOTIFY },
});
