/** Terminals by their device numbers (Documentation/admin-guide/devices.txt). */
import { STAT } from '../kernel/abi/stat.ts';
import type { DescriptorStat } from './resource.ts';

/** Virtual and serial 4, /dev/tty and console 5, Unix98 pseudo-terminals 136-143. */
const isTerminalMajor = (major: number): boolean => major === 4 || major === 5 || (major >= 136 && major <= 143);

const isDevice = ({ mode }: DescriptorStat): boolean => (mode & STAT.S_IFMT) === STAT.S_IFCHR;

export const isTerminal = (stat: DescriptorStat): boolean =>
  isDevice(stat) && isTerminalMajor((stat.rawDevice >> 8) & 0xfff);

/** /dev/ptmx, 5, 2: whoever opens it gets the master of a new pseudo-terminal. */
const MULTIPLEXER = 0x502;

export const isTerminalMultiplexer = (stat: DescriptorStat): boolean =>
  isDevice(stat) && stat.rawDevice === MULTIPLEXER;
