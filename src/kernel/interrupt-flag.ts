/**
 * Ctrl-C while everything is synchronous. Node's own signal handlers only run in the event loop, which stands still from
 * freeze to resume; so for that time the signals go to a few bytes of machine code that note the signal's number, and the
 * pipeline looks at the note between two chunks.
 */
import { SA, SA_RESTORER, SIGNAL } from './abi/signal.ts';
import { SYS } from './abi/syscall.ts';
import { check } from './errors.ts';
import { installMachineCode, rawSyscall } from './ffi.ts';
import { bytesAt } from './native-memory.ts';
import { newCall, scratch } from './scratch.ts';

/** mov [rip+9],edi; ret; restorer: mov eax,15 (rt_sigreturn); syscall; then the note itself, 4 bytes, aligned. */
const code = Buffer.from('893d0a000000c3b80f0000000f059090' + '00000000', 'hex');
const RESTORER_OFFSET = 7;
const NOTE_OFFSET = 16;
const SIGACTION_SIZE = 32;
const SIGNAL_SET_SIZE = 8;

const noted = [SIGNAL.SIGINT, SIGNAL.SIGTERM, SIGNAL.SIGHUP] as const;
let address: number | undefined;

export interface InterruptFlag {
  /** The signal that has arrived, 0 for none. */
  readonly signal: () => number;
  /** The same; it is forgotten. */
  readonly take: () => number;
  /** Puts the former handlers back. */
  readonly restore: () => void;
}

/** From now on SIGINT, SIGTERM and SIGHUP are only noted. A signal that is ignored (nohup) stays ignored. */
export function noteInterrupts(): InterruptFlag {
  address ??= installMachineCode(code);
  const handler = address;
  const note = bytesAt((handler + NOTE_OFFSET) as never, 4);
  note.writeInt32LE(0);
  const former = noted.map((signal) => ({ signal, action: exchange(signal, handler) }));
  return {
    signal: () => note.readInt32LE(0),
    take: () => {
      const signal = note.readInt32LE(0);
      if (signal !== 0) note.writeInt32LE(0);
      return signal;
    },
    restore: () => {
      for (const { signal, action } of former) if (action !== undefined) set(signal, action);
    },
  };
}

const IGNORED = 1n;

function exchange(signal: number, handler: number): Buffer | undefined {
  newCall();
  const old = scratch(SIGACTION_SIZE);
  check('rt_sigaction', rawSyscall(SYS.rt_sigaction, signal, 0, old.address, SIGNAL_SET_SIZE), {
    doing: 'read a signal handler',
  });
  const former = Buffer.from(old.bytes);
  if (former.readBigUInt64LE(0) === IGNORED) return undefined;
  const action = Buffer.alloc(SIGACTION_SIZE);
  action.writeBigUInt64LE(BigInt(handler), 0);
  action.writeBigUInt64LE(BigInt(SA.SA_RESTART | SA_RESTORER), 8);
  action.writeBigUInt64LE(BigInt(handler + RESTORER_OFFSET), 16);
  set(signal, action);
  return former;
}

function set(signal: number, action: Uint8Array): void {
  newCall();
  const wanted = scratch(SIGACTION_SIZE);
  wanted.bytes.set(action);
  check('rt_sigaction', rawSyscall(SYS.rt_sigaction, signal, wanted.address, 0, SIGNAL_SET_SIZE), {
    doing: 'set a signal handler',
  });
}
