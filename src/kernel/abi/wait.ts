/** wait4(2) and waitid(2). */
import { defineAbi } from './define-abi.ts';

export const WAIT = {
  WNOHANG: 0x1,
  WUNTRACED: 0x2,
  WSTOPPED: 0x2,
  WEXITED: 0x4,
  WCONTINUED: 0x8,
  WNOWAIT: 0x1000000,
  __WNOTHREAD: 0x20000000,
  __WALL: 0x40000000,
  __WCLONE: 0x80000000,
  P_ALL: 0x0,
  P_PID: 0x1,
  P_PGID: 0x2,
  P_PIDFD: 0x3,
} as const;

export const waitAbi = defineAbi({
  headers: ['linux/wait.h'],
  constants: { ...WAIT },
});
