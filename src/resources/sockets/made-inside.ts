/**
 * UNIX sockets that a process of what is restarted makes itself, through its agent: whose credentials the other end is told (SO_PEERCRED,
 * unix(7)) is settled by who calls socketpair(2), connect(2) or listen(2).
 */
import { SECBIT } from '../../kernel/abi/capability.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SOCKET } from '../../kernel/abi/socket.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { connectSocket, listenOn, makeSocket, makeSocketPair, type SocketPair } from '../../kernel/calls/sockets.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { readStatus } from '../../procfs/status.ts';
import { asPid } from '../../support/brand.ts';
import type { RebuiltProcess, RestoredDescriptors } from '../resource.ts';
import { takeOut } from '../take-out.ts';

/** A socket of ours that a process has under a number of its own, until {@link leave}. Without a process all is our own doing. */
export class SocketInside {
  readonly own: OwnedFd;
  readonly #process: RebuiltProcess | undefined;
  readonly #number: number;

  constructor(process: RebuiltProcess | undefined, type: number) {
    this.#process = process;
    if (process === undefined) {
      this.#number = -1;
      this.own = makeSocket(SOCKET.AF_UNIX, type, 0);
      return;
    }
    const made = process.batch.call('make a socket', SYS.socket, SOCKET.AF_UNIX, type | SOCKET.SOCK_CLOEXEC, 0);
    process.batch.run();
    this.#number = made.result;
    this.own = takeOut(process, made.result);
  }

  connect(address: Uint8Array): void {
    if (this.#process === undefined) {
      connectSocket(this.own.number, address, 'connect two sockets');
      return;
    }
    const { batch } = this.#process;
    batch.call('connect two sockets', SYS.connect, this.#number, batch.bytes(address).address, address.length);
    batch.run();
  }

  listen(backlog: number): void {
    if (this.#process === undefined) {
      listenOn(this.own.number, backlog);
      return;
    }
    this.#process.batch.call('listen on a socket', SYS.listen, this.#number, backlog);
    this.#process.batch.run();
  }

  /** As `user` is told of by SO_PEERCRED. */
  connectAs(address: Uint8Array, user: { readonly uid: number; readonly gid: number }): void {
    const { uid, gid } = readStatus(this.#process?.pid ?? asPid(process.pid));
    if (this.#process === undefined || (uid.effective === user.uid && gid.effective === user.gid)) {
      this.connect(address);
      return;
    }
    const { batch } = this.#process;
    const bits = batch.call('read the securebits', SYS.prctl, PR.PR_GET_SECUREBITS);
    batch.run();
    const { SECBIT_NO_SETUID_FIXUP, SECBIT_KEEP_CAPS } = SECBIT;
    const keep = bits.result | SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS;
    batch.call('keep the capabilities for a while', SYS.prctl, PR.PR_SET_SECUREBITS, keep);
    batch.call('be another group', SYS.setresgid, -1, user.gid, -1);
    batch.call('be another user', SYS.setresuid, -1, user.uid, -1);
    const target = batch.bytes(address);
    batch.call('connect two sockets', SYS.connect, this.#number, target.address, address.length);
    batch.call('be who it is', SYS.setresuid, -1, uid.effective, -1);
    batch.call('be who it is', SYS.setfsuid, uid.filesystem);
    batch.call('be of its group', SYS.setresgid, -1, gid.effective, -1);
    batch.call('be of its group', SYS.setfsgid, gid.filesystem);
    batch.call('put the securebits back', SYS.prctl, PR.PR_SET_SECUREBITS, bits.result);
    batch.run();
  }

  /** As other things that are shared while objects are made. */
  close(): void {
    this.own.close();
  }

  /** The process has it no more; we do. */
  leave(): void {
    if (this.#process === undefined) return;
    this.#process.batch.call('close a socket that was taken out', SYS.close, this.#number);
    this.#process.batch.run();
  }
}

/** Both ends have the credentials of process `pid`, or ours if that is not being restarted. */
export function socketPairBy(world: RestoredDescriptors, pid: number, type: number): SocketPair {
  const process = world.process(pid);
  if (process === undefined) return makeSocketPair(type);
  const { batch } = process;
  const pair = batch.data(8);
  const flags = type | SOCKET.SOCK_CLOEXEC;
  batch.call('make a pair of sockets', SYS.socketpair, SOCKET.AF_UNIX, flags, 0, pair.address);
  batch.run();
  const numbers = [pair.bytes.readInt32LE(0), pair.bytes.readInt32LE(4)] as const;
  const made = { first: takeOut(process, numbers[0]), second: takeOut(process, numbers[1]) };
  for (const fd of numbers) batch.call('close a socket that was taken out', SYS.close, fd);
  batch.run();
  return made;
}
