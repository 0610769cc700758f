/**
 * The first foothold in a task: the unused end of its vDSO's last page. Code put there runs without touching anything of
 * the program's, and stays harmless if we die: the page is a private copy, and nobody jumps there.
 *
 * The vDSO is an ELF image that ends with its section headers; behind them its page is zero. It is written as a debugger
 * writes a breakpoint (ptrace(2), PTRACE_POKEDATA), which gives this process its own copy of the page. That copy stays.
 */
import { homeBlockSize, homeCode, routines } from '../arch/x86/machine-code.ts';
import { pokeBytes } from '../kernel/calls/ptrace.ts';
import { type Pid, type RemoteAddress, remoteAddress, type Tid } from '../support/brand.ts';
import { endOfElf } from '../support/elf-extent.ts';
import { QuicksaveError } from '../support/errors.ts';
import { readRemote } from './remote-memory.ts';
import { encodeHomeBlock, type Unmapping, type WayHome } from './state-block.ts';
import type { AgentSite, CallSite } from './stopped-task.ts';

export interface AddressRange {
  readonly start: RemoteAddress;
  readonly end: RemoteAddress;
}

const CODE_BYTES = (homeCode.length + 15) & ~15;
/** One block for the leader, and one for each other thread while it works for us. */
const SITE_BYTES = CODE_BYTES + 2 * homeBlockSize;

export interface VdsoSite extends AgentSite {
  readonly pid: Pid;
  readonly start: RemoteAddress;
  readonly vdso: AddressRange;
}

/** Where in the vDSO there is room. Pure reading: the target is not changed. */
export function findVdsoSite(pid: Pid, vdso: AddressRange): VdsoSite {
  const image = readRemote(pid, vdso.start, vdso.end - vdso.start);
  const end = endOfElf(image);
  if (end === undefined) {
    throw new QuicksaveError('no-foothold', 'The vDSO of the target is not an ELF image.');
  }
  const offset = (end + 15) & ~15;
  const room = image.subarray(offset, offset + SITE_BYTES);
  if (room.length < SITE_BYTES || !isFree(room)) {
    throw new QuicksaveError('no-foothold', `The vDSO of process ${pid} has no unused room of ${SITE_BYTES} bytes.`, {
      remedy:
        'If another tool has patched it, end that tool; otherwise this kernel needs support that is not there yet.',
    });
  }
  const start = remoteAddress(vdso.start + offset);
  return {
    pid,
    start,
    vdso: { start: vdso.start, end: vdso.end },
    callOnce: remoteAddress(start + routines.call_once),
    callI386: remoteAddress(start + routines.call_i386),
    callUnmapHome: remoteAddress(start + routines.call_unmap_home),
    goHome: remoteAddress(start + routines.go_home),
    block: remoteAddress(start + CODE_BYTES),
  };
}

/**
 * Nothing is there, or what a save has left that was killed: its code, which nobody will ever run again, or, if that was while it wrote it or took it
 * away, some words of it. The blocks are there only while all of the code is: {@link installSite} writes them last, {@link removeSite} takes them first.
 */
function isFree(room: Buffer): boolean {
  const code = Buffer.alloc(CODE_BYTES);
  code.set(homeCode);
  const found = room.subarray(0, CODE_BYTES);
  if (found.equals(code)) return true;
  if (room.subarray(CODE_BYTES).some((byte) => byte !== 0)) return false;
  for (let offset = 0; offset < CODE_BYTES; offset += 8) {
    const word = found.readBigUInt64LE(offset);
    if (word !== 0n && word !== code.readBigUInt64LE(offset)) return false;
  }
  return true;
}

/** Whether all of our code is there, which {@link removeSite} has not taken away. */
export function hasSite(pid: Pid, { start, end }: AddressRange): boolean {
  const image = readRemote(pid, start, end - start);
  const elf = endOfElf(image);
  if (elf === undefined) return false;
  const offset = (elf + 15) & ~15;
  return image.subarray(offset, offset + homeCode.length).equals(homeCode);
}

/** The same code with the other block, filled for another thread. */
export function siteForThread(tid: Tid, site: VdsoSite, home: WayHome): CallSite {
  const block = remoteAddress(site.block + homeBlockSize);
  pokeBytes(tid, block, encodeHomeBlock(home));
  return { callOnce: site.callOnce, callI386: site.callI386, goHome: site.goHome, block };
}

/** `agent` is where the agent will be: from the moment that it comes until it has gone, the way home leads through its unmapping. */
export function installSite(tid: Tid, site: VdsoSite, home: WayHome, agent: Unmapping): void {
  const bytes = Buffer.alloc(SITE_BYTES);
  bytes.set(homeCode, 0);
  bytes.set(encodeHomeBlock(home, agent), CODE_BYTES);
  pokeBytes(tid, site.start, bytes);
}

export function removeSite(tid: Tid, site: VdsoSite): void {
  pokeBytes(tid, site.block, new Uint8Array(SITE_BYTES - CODE_BYTES));
  pokeBytes(tid, site.start, new Uint8Array(CODE_BYTES));
}
