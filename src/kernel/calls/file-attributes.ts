/** What chattr(1) has set for a file: statx(2), Linux 4.11. Nothing of the file is opened. */
import { FCNTL } from '../abi/fcntl.ts';
import { STAT, statAbi } from '../abi/stat.ts';
import { SYS } from '../abi/syscall.ts';
import { checkMemory, isFailure } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { cString, newCall, scratch } from '../scratch.ts';

export interface FileAttributes {
  /** Nobody may write it. */
  readonly immutable: boolean;
  /** It can be written at its end only: open(2) for writing demands O_APPEND. */
  readonly appendOnly: boolean;
}

const { size, fields } = statAbi.structs.statx;

/** False for a file that is not there, or on a file system without such attributes. Throws for lack of memory. */
export function fileAttributes(path: string): FileAttributes {
  newCall();
  const answer = scratch(size);
  const name = cString(path);
  const result = rawSyscall(SYS.statx, FCNTL.AT_FDCWD, name.address, 0, 0, answer.address);
  if (isFailure(checkMemory('statx', result, { doing: `ask for the attributes of ${path}` }))) return NONE;
  const attributes = Number(answer.view.getBigUint64(fields.stx_attributes[0], true));
  return {
    immutable: (attributes & STAT.STATX_ATTR_IMMUTABLE) !== 0,
    appendOnly: (attributes & STAT.STATX_ATTR_APPEND) !== 0,
  };
}

const NONE: FileAttributes = { immutable: false, appendOnly: false };
