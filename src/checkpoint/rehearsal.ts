/**
 * The first time that a function runs, the engine compiles it: 10 ms for a whole save, with the target standing still. So
 * the save is rehearsed before, on a process of ours that does nothing, and compiled to baseline code at once. That takes
 * some 50 ms: nothing for a large program, whose pause is the copying of its memory. If it fails for any reason, the real
 * save is only slower.
 */
import { setFlagsFromString } from 'node:v8';
import { stubProgram } from '../arch/x86/stub-elf.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { executableFromBytes } from '../kernel/calls/descriptors.ts';
import { spawnProgram } from '../kernel/calls/spawn.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { waitForEnd } from '../kernel/calls/wait.ts';
import { asTid, type Pid } from '../support/brand.ts';

/** Any address that is free in a new process. */
const STUB_ADDRESS = 0x10_0000_0000;

export function rehearse(save: (pid: Pid) => void): void {
  setFlagsFromString('--always-sparkplug');
  const executable = executableFromBytes('quicksave', stubProgram(STUB_ADDRESS, process.pid).image);
  try {
    const pid = spawnProgram(executable.number);
    try {
      save(pid);
    } catch {
      // A process of a page is unusual, and some obstacle may be found: the way there has been walked all the same.
    } finally {
      endChild(pid);
    }
  } finally {
    executable.close();
  }
}

function endChild(pid: Pid): void {
  sendSignal(pid, SIGNAL.SIGKILL);
  waitForEnd(asTid(pid));
}
