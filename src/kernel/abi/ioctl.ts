/** ioctl(2) on terminals. */
import { bytes } from '../struct.ts';
import { defineAbi } from './define-abi.ts';

export const IOCTL = {
  TCGETS: 0x5401,
  TCSETS: 0x5402,
  TCSETSW: 0x5403,
  TCSETSF: 0x5404,
  TCGETS2: 0x802c542a,
  TCSETS2: 0x402c542b,
  TIOCGWINSZ: 0x5413,
  TIOCSWINSZ: 0x5414,
  TIOCGPGRP: 0x540f,
  TIOCSPGRP: 0x5410,
  TIOCGSID: 0x5429,
  TIOCSCTTY: 0x540e,
  TIOCNOTTY: 0x5422,
  TIOCGPTN: 0x80045430,
  TIOCSPTLCK: 0x40045431,
  TIOCGPTLCK: 0x80045439,
  TIOCGPTPEER: 0x5441,
  TIOCGLCKTRMIOS: 0x5456,
  TIOCPKT: 0x5420,
  TIOCGPKT: 0x80045438,
  TIOCEXCL: 0x540c,
  TIOCNXCL: 0x540d,
  TIOCGEXCL: 0x80045440,
  TIOCINQ: 0x541b,
  TIOCOUTQ: 0x5411,
  TIOCGETD: 0x5424,
  TIOCSETD: 0x5423,
  TIOCSTI: 0x5412,
  TIOCGDEV: 0x80045432,
  TCFLSH: 0x540b,
  TCXONC: 0x540a,
} as const;

/** Members of struct termios2 by their offsets, flags, and places in c_cc: termios(3). */
export const TERMIOS = {
  c_iflag: 0,
  c_oflag: 4,
  c_lflag: 12,
  c_cc: 17,
  NCCS: 19,
  VEOF: 4,
  VSTART: 8,
  VSTOP: 9,
  VLNEXT: 15,
  IXON: 0o2000,
  ICANON: 2,
  IEXTEN: 0o100000,
  EXTPROC: 0o200000,
  TCOOFF: 0,
} as const;

const { c_iflag: _iflag, c_oflag: _oflag, c_lflag: _lflag, c_cc: _cc, ...terminalConstants } = TERMIOS;

export const ioctlAbi = defineAbi({
  headers: ['asm/ioctls.h', 'asm/termbits.h', 'asm/termios.h'],
  constants: { ...IOCTL, ...terminalConstants },
  structs: {
    winsize: {
      size: 8,
      fields: {
        ws_row: [0, 'u16'],
        ws_col: [2, 'u16'],
        ws_xpixel: [4, 'u16'],
        ws_ypixel: [6, 'u16'],
      },
    },
    termios2: {
      size: 44,
      fields: {
        c_iflag: [0, 'u32'],
        c_oflag: [4, 'u32'],
        c_cflag: [8, 'u32'],
        c_lflag: [12, 'u32'],
        c_line: [16, 'u8'],
        c_cc: [17, bytes(19)],
        c_ispeed: [36, 'u32'],
        c_ospeed: [40, 'u32'],
      },
    },
  },
});
