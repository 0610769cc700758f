/** /proc/PID/exe, cwd and root: proc_pid_exe(5), proc_pid_cwd(5), proc_pid_root(5). */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Pid } from '../support/brand.ts';
import { refuseLack } from '../support/lacking.ts';
import { type DeletablePath, splitDeletedLink } from './deleted-suffix.ts';
import { readProcLink, unlessMissing } from './proc-file.ts';

/** Undefined for a kernel thread and a zombie. */
export const readExecutable = (pid: Pid): DeletablePath | undefined => readLink(pid, 'exe');

/** Undefined for a zombie. A path that our root does not reach is given from the root of its own mount. */
export const readWorkingDirectory = (pid: Pid): DeletablePath | undefined => readLink(pid, 'cwd');

/** Undefined for a zombie. */
export const readRootDirectory = (pid: Pid): DeletablePath | undefined => readLink(pid, 'root');

function readLink(pid: Pid, name: 'exe' | 'cwd' | 'root'): DeletablePath | undefined {
  const text = unlessMissing(() => readProcLink(pid, name), ['no-proc-file']);
  return text === undefined ? undefined : splitDeletedLink(`/proc/${pid}/${name}`, text);
}

const ELF_CLASS_OFFSET = 4;
const ELFCLASS32 = 1;

/** By the class of its executable: elf(5). False if it has ended, or if we may not look. */
export function is32BitProgram(pid: Pid): boolean {
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}/exe`, 'r');
  } catch (error) {
    refuseLack(error, `/proc/${pid}/exe`);
    return false;
  }
  try {
    const header = Buffer.alloc(ELF_CLASS_OFFSET + 1);
    readSync(fd, header, 0, header.length, 0);
    return header[ELF_CLASS_OFFSET] === ELFCLASS32;
  } finally {
    closeSync(fd);
  }
}
