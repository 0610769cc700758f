/** What F_SETFL can change of an open file description (fcntl(2)); O_ASYNC is refused. */
import { OPEN } from '../kernel/abi/fcntl.ts';

export const STATUS_FLAGS = OPEN.O_NONBLOCK | OPEN.O_APPEND | OPEN.O_NOATIME;
