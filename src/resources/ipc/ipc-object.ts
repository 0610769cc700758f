/**
 * What System V segments, semaphore sets and message queues have in common: an id and a key, an owner, and who has made it. They outlive their
 * processes.
 */
import * as v from 'valibot';
import { integerBetween, u32 } from '../../image/schema.ts';
import { CAP } from '../../kernel/abi/capability.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { IPC } from '../../kernel/abi/system-v.ts';
import { check } from '../../kernel/errors.ts';
import { readStatus } from '../../procfs/status.ts';
import { chooseNextIpcId, type IpcObject, type IpcTable, mayChooseIpcIds } from '../../procfs/sysvipc.ts';
import { asPid } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import type { PendingCall } from '../../tracee/call-batch.ts';
import type { HostView, RebuiltProcess } from '../resource.ts';

/** (uid_t)-1 is none. */
const identity = integerBetween(0, 0xffff_fffe);
const user = v.strictObject({ uid: identity, gid: identity });
export type IpcUser = v.InferOutput<typeof user>;

export const ipcFields = {
  id: integerBetween(0, 0x7fff_ffff),
  key: u32,
  mode: integerBetween(0, 0o777),
  owner: user,
  creator: user,
};

/** The low bits of an id are its place in the kernel's table, each of which has one (ipc/util.h, IPCMNI_SHIFT). */
export const placeOf = (id: number): number => id & 0x7fff;

/** Rights to make it as it was made. */
export function rightsProblems(
  table: IpcTable,
  path: readonly string[],
  { creator }: { readonly creator: IpcUser },
  { status }: HostView,
): Problem[] {
  const has = (capability: number): boolean => ((status.capEffective >> BigInt(capability)) & 1n) === 1n;
  const problems: Problem[] = [];
  if (!mayChooseIpcIds(table)) {
    problems.push({
      code: 'no-segment-ids',
      path,
      message: 'This kernel does not let anybody choose the ids of System V objects.',
      remedy: 'Restart it on a kernel with CONFIG_SYSVIPC and CONFIG_CHECKPOINT_RESTORE.',
    });
  }
  const isOther = { uid: creator.uid !== status.uid.effective, gid: creator.gid !== status.gid.effective };
  if ((isOther.uid && !has(CAP.CAP_SETUID)) || (isOther.gid && !has(CAP.CAP_SETGID))) {
    problems.push({
      code: 'other-credentials',
      path,
      message: `It was made by uid ${creator.uid}, gid ${creator.gid}, which this command is not.`,
      remedy: 'Run the restart as that user, or as root.',
    });
  }
  return problems;
}

const KEEP = -1;

/** Calls of the process under other effective ids: the creator of such an object is who makes it. */
export function asUser<T>(process: RebuiltProcess, user: IpcUser, ask: (process: RebuiltProcess) => T): T {
  const { batch } = process;
  const own = readStatus(asPid(process.pid));
  const changesGroup = user.gid !== own.gid.effective;
  const changesUser = user.uid !== own.uid.effective;
  const become = (doing: string, call: number, id: number): void => void batch.call(doing, call, KEEP, id, KEEP);
  if (changesGroup) become('take the group of a System V object', SYS.setresgid, user.gid);
  if (changesUser) become('take the user of a System V object', SYS.setresuid, user.uid);
  const asked = ask(process);
  if (changesUser) become('be the own user again', SYS.setresuid, own.uid.effective);
  if (changesGroup) become('be in the own group again', SYS.setresgid, own.gid.effective);
  batch.run();
  return asked;
}

/** Semaphore sets or message queues. */
export interface Kept<Found extends IpcObject> {
  readonly table: IpcTable;
  /** Its name in sentences. */
  readonly what: string;
  /** Of ipcrm(1), with an id. */
  readonly option: string;
  readonly list: () => readonly Found[];
  readonly remove: (id: number) => void;
}

type Access = Pick<IpcObject, 'mode' | 'owner'>;

/** It may have been given away, or opened to others, since. */
export const hasSameAccess = (one: Access, other: Access): boolean =>
  one.mode === other.mode && one.owner.uid === other.owner.uid && one.owner.gid === other.owner.gid;

type IpcState = Pick<IpcObject, 'id' | 'key' | 'creator'>;

/** What stands in the way of having it again: another one in its place, or with its key; or no right to make it. */
export function keptProblems<Found extends IpcObject>(
  { table, what, option, list }: Kept<Found>,
  state: IpcState,
  host: HostView,
  isAlike: (found: Found) => boolean,
): Problem[] {
  const { id, key, creator } = state;
  const path = [`${what} ${id}`];
  const taken = (message: string, other: number): Problem => ({
    code: 'segment-taken',
    path,
    message,
    remedy: `When nobody needs that one any more: ipcrm ${option} ${other}`,
  });
  const all = list();
  const there = all.find((one) => one.id === id);
  if (there !== undefined) {
    const isSame =
      there.key === key && there.creator.uid === creator.uid && there.creator.gid === creator.gid && isAlike(there);
    return isSame || host.programRuns ? [] : [taken(`Another ${what} has its id.`, id)];
  }
  const other =
    all.find((one) => placeOf(one.id) === placeOf(id)) ?? all.find((one) => key !== IPC.IPC_PRIVATE && one.key === key);
  const inTheWay =
    other === undefined
      ? []
      : [taken(`Its place in the kernel's table, or its key, is that of ${other.id}.`, other.id)];
  return [...rightsProblems(table, path, state, host), ...inTheWay];
}

/** Made by the process, as the user who had made it; gone again if the restart fails. */
export function makeAgain<Found extends IpcObject>(
  { table, what, list, remove }: Kept<Found>,
  { id, creator }: IpcState,
  process: RebuiltProcess,
  ask: (process: RebuiltProcess) => PendingCall,
): void {
  // Before it is made: what fails next may be the reading of the answer.
  process.onFailure(() => {
    if (list().some((one) => one.id === id)) remove(id);
  });
  chooseNextIpcId(table, id);
  const made = asUser(process, creator, ask).result;
  check(`${table}get`, made, { doing: `make the ${what} ${id}`, pid: process.pid });
  if (made === id) return;
  remove(made);
  throw new QuicksaveError('segment-taken', `The id of the ${what} ${id} has been taken by somebody else meanwhile.`);
}
