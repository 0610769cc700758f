/**
 * A process that shares our table of descriptors and sleeps: what we have open stays open until it has ended too, also what we open later. The kernel
 * ends it when this thread has ended, and with it whoever this thread traces with PTRACE_O_EXITKILL, those first (kernel/exit.c,
 * forget_original_parent). So a descriptor that somebody must not outlive is not closed before he has got his SIGKILL.
 *
 * A descriptor of ours alone would be: a process closes its files before it lets its tracees go (kernel/exit.c, do_exit). The holder is a copy of us as
 * fork(2) makes it, in a session of its own, and never returns from machine code.
 */
import { asPid, asTid, type Tid } from '../../support/brand.ts';
import { CLONE } from '../abi/sched.ts';
import { SIGNAL } from '../abi/signal.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { callable, rawSyscall, type Thunk } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';
import { sendSignal } from './task-attributes.ts';
import { waitForEndOrLoss } from './wait.ts';

/*
 * mov rdx,rsi; xor esi,esi; xor r10d,r10d; xor r8d,r8d; mov eax,56 (clone); syscall; test rax,rax; jz child; ret
 * child: mov ebx,edx; mov edi,1 (PR_SET_PDEATHSIG); mov esi,9; mov eax,157 (prctl); syscall
 *   mov eax,110 (getppid); syscall; cmp eax,ebx; jne gone; mov eax,112 (setsid); syscall
 * sleep: mov eax,34 (pause); syscall; jmp sleep
 * gone: xor edi,edi; mov eax,231; syscall
 */
const holdDescriptors = Buffer.from(
  '4889f231f64531d24531c0b8380000000f054885c07401c389d3bf01000000be09000000b89d0000000f05b86e0000000f0539d87510b8700000000f05b8220000000f05ebf731ffb8e70000000f05',
  'hex',
);

const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;

let thunk: Thunk | undefined;

export class DescriptorHolder {
  readonly tid: Tid;

  /** Ends with the thread that calls this. */
  constructor() {
    thunk ??= callable(holdDescriptors);
    newCall();
    const masks = scratch(16);
    masks.view.setBigUint64(0, ALL_SIGNALS, true);
    rawSyscall(SYS.rt_sigprocmask, SIGNAL.SIG_SETMASK, masks.address, masks.address + 8, 8);
    const child = Number(thunk(CLONE.CLONE_FILES, process.pid, 0, 0, 0, 0, 0));
    rawSyscall(SYS.rt_sigprocmask, SIGNAL.SIG_SETMASK, masks.address + 8, 0, 8);
    this.tid = asTid(check('clone', child, { doing: 'make a process that holds descriptors' }));
  }

  /** Also if somebody else has. */
  end(): void {
    sendSignal(asPid(this.tid), SIGNAL.SIGKILL);
    waitForEndOrLoss(this.tid);
  }
}
