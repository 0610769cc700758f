/**
 * Connections to others while a program is saved, down, and restarted: nobody but the two ends may answer for it, so all packets are
 * dropped from before its state is read until it goes on (nf_tables). In a save that lets the program go on, and in a restart, the table goes with
 * our netlink socket; with --kill a second one stays until the restart removes it by its name.
 */
import { randomBytes } from 'node:crypto';
import { NETLINK } from '../kernel/abi/netlink.ts';
import { SIGNAL } from '../kernel/abi/signal.ts';
import { duplicate } from '../kernel/calls/descriptors.ts';
import { openNetlink } from '../kernel/calls/netlink.ts';
import { sendSignal } from '../kernel/calls/task-attributes.ts';
import { type Departure, endSilently, setGoing } from '../kernel/calls/tcp-repair.ts';
import type { OwnedFd } from '../kernel/owned-fd.ts';
import {
  addSilent,
  awaitAnswer,
  type Connection,
  holdSilent,
  listTables,
  removalOf,
  stayingSilence,
} from '../netlink/nf-tables.ts';
import type { LocalFd, Pid } from '../support/brand.ts';

export type TcpPolicy = 'established' | 'close' | 'refuse';

/** Names of tables that stay. */
export const TABLE_PREFIX = 'quicksave-';
const ownTable = (): string => `quicksave-own-${randomBytes(8).toString('hex')}`;
export const isTableName = (name: string): boolean => /^quicksave-[0-9a-f]{16}$/.test(name);

/** Of one save. */
export class ConnectionKeeper {
  readonly policy: TcpPolicy;
  /** The program ends with the save. */
  readonly ends: boolean;
  /** The name of the table that stays. */
  readonly table = `${TABLE_PREFIX}${randomBytes(8).toString('hex')}`;
  #connections: readonly Connection[] | undefined;
  #silence: OwnedFd | undefined;
  readonly #sockets: OwnedFd[] = [];

  constructor(policy: TcpPolicy, ends: boolean) {
    this.policy = policy;
    this.ends = ends;
  }

  /** Called before each connection is read; all that are saved together are held at once, at the first. */
  hold(findAll: () => readonly Connection[]): void {
    if (this.#connections !== undefined) return;
    this.#connections = findAll();
    this.#silence = holdSilent(ownTable(), this.#connections);
  }

  /** This socket, ours too, is to vanish without a word when the program ends. */
  silence(own: LocalFd): void {
    if (this.ends) this.#sockets.push(duplicate(own));
  }

  /** SIGKILL, with all connections kept for the restart. */
  endProcesses(pids: readonly Pid[]): void {
    if (this.#connections === undefined) {
      for (const pid of pids) sendSignal(pid, SIGNAL.SIGKILL);
      return;
    }
    const netlink = openNetlink(NETLINK.NETLINK_NETFILTER);
    try {
      endSilently(
        this.#sockets.map(({ number }) => number),
        { socket: netlink.number, bytes: stayingSilence(this.table, this.#connections) },
        pids.map((pid) => ({ pid, signal: SIGNAL.SIGKILL })),
      );
      awaitAnswer(netlink);
    } finally {
      netlink.close();
    }
  }

  close(): void {
    for (const socket of this.#sockets.splice(0)) socket.close();
    this.#silence?.close();
    this.#silence = undefined;
  }
}

/** Of one restart. */
export class RestoredConnections {
  readonly #departures: (Departure & { readonly owned: OwnedFd })[] = [];
  readonly #tables = new Set<string>();
  readonly #ownTable = ownTable();
  #silence: OwnedFd | undefined;

  /** Nothing may be said for it until it is complete, nor by a half-made end. `table`: what the save left behind, if it did. */
  hold(connection: Connection, table: string): void {
    if (this.#silence === undefined) this.#silence = holdSilent(this.#ownTable, [connection]);
    else addSilent(this.#silence, this.#ownTable, [connection]);
    this.#tables.add(table);
  }

  /** A socket in repair mode, complete but for what had not been sent. */
  add(own: LocalFd, departure: Omit<Departure, 'socket'>): void {
    const owned = duplicate(own);
    this.#departures.push({ ...departure, owned, socket: owned.number });
  }

  /** Everything is in place: the locks go, and the sockets leave repair mode. */
  setGoing(): void {
    if (this.#silence === undefined) return;
    const left = listTables().filter((name) => this.#tables.has(name));
    const netlinks = left.map((name) => ({
      owned: openNetlink(NETLINK.NETLINK_NETFILTER),
      bytes: removalOf(name),
    }));
    try {
      this.#silence.close();
      setGoing(
        this.#departures,
        netlinks.map(({ owned, bytes }) => ({ socket: owned.number, bytes })),
      );
      for (const { owned } of netlinks) awaitAnswer(owned);
    } finally {
      for (const { owned } of netlinks) owned.close();
      this.close();
    }
  }

  close(): void {
    for (const { owned } of this.#departures.splice(0)) owned.close();
    this.#silence?.close();
    this.#silence = undefined;
  }
}
