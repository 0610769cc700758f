/**
 * In which order the processes of a tree are made, by whom, and when they begin their sessions. A process gets its session from
 * whoever makes it, and can only leave it for one of its own (setsid(2), credentials(7)):
 *
 * - a child that is in the session which its parent had before it began one of its own is made before that;
 * - a child in the session of a sibling is made by that sibling, as its sibling (CLONE_PARENT of clone(2));
 * - where the leader of a session has ended, a helper with its number begins the session, makes its members, and ends.
 *
 * Groups come when all processes are there. One whose leader has ended is begun by a helper with its number, which ends when
 * the members have joined. The session and the group that the root was given by somebody outside are those of the restart
 * command and one of the root's own.
 */
import type { ExitedRecord, TaskRecord } from '../image/tree.ts';
import { ImageError } from '../support/errors.ts';

/** What has to be done, in this order. All numbers are pids. */
export type Step =
  | { readonly what: 'make'; readonly pid: number; readonly maker: number; readonly asSibling: boolean }
  /** It ends when all groups are made, and nobody hears of it. */
  | { readonly what: 'make-helper'; readonly pid: number; readonly maker: number }
  | { readonly what: 'begin-session'; readonly pid: number }
  | { readonly what: 'begin-group'; readonly pid: number }
  | { readonly what: 'join-group'; readonly pid: number; readonly group: number }
  | { readonly what: 'end-helper'; readonly pid: number };

export type Member = Pick<TaskRecord, 'pid' | 'parent' | 'processGroup' | 'session'>;

/** Of the restart command. No process has it as its number. */
const OUTER = 0;

export interface Hierarchy {
  /** The root itself is made before. */
  readonly steps: readonly Step[];
  /** Numbers beside those of the processes that must be free: helpers'. */
  readonly helpers: readonly number[];
}

/** `members`: the root first, every other behind its parent. Throws ImageError where no order leads there. */
export function planHierarchy(members: readonly Member[], exited: readonly ExitedRecord[]): Hierarchy {
  return new Planner(members, exited).plan();
}

class Planner {
  readonly #steps: Step[] = [];
  readonly #root: Member;
  /** With those that have ended. */
  readonly #members = new Map<number, Member>();
  readonly #children = new Map<number, Member[]>();
  readonly #helpers = new Set<number>();
  readonly #living: ReadonlySet<number>;

  constructor(members: readonly Member[], exited: readonly ExitedRecord[]) {
    const [root] = members;
    if (root === undefined) throw new Error('a tree has a root');
    this.#root = root;
    this.#living = new Set(members.map(({ pid }) => pid));
    for (const member of [...members, ...exited]) {
      this.#members.set(member.pid, member);
      if (member.parent === undefined) continue;
      const siblings = this.#children.get(member.parent) ?? [];
      siblings.push(member);
      this.#children.set(member.parent, siblings);
    }
  }

  plan(): Hierarchy {
    // From before process trees: an aspect of the process has it.
    if (this.#root.session === undefined) return { steps: [], helpers: [] };
    this.#grow(this.#root, OUTER);
    this.#groups();
    for (const pid of this.#helpers) this.#steps.push({ what: 'end-helper', pid });
    return { steps: this.#steps, helpers: [...this.#helpers] };
  }

  /** OUTER for that which somebody outside of the tree has given to the root. */
  #sessionOf({ session = OUTER }: Member): number {
    const isInherited = session === this.#root.session && session !== this.#root.pid;
    return isInherited ? OUTER : session;
  }

  #groupOf({ processGroup = OUTER }: Member): number {
    const { processGroup: ofRoot = OUTER, pid } = this.#root;
    const isInherited = processGroup === ofRoot && !this.#members.has(ofRoot);
    return isInherited ? pid : processGroup;
  }

  /** The session that it must be born in. A leader was born in another one, which its oldest children may still be in. */
  #birthSessionOf(member: Member, usual: number): number {
    if (this.#sessionOf(member) !== member.pid) return this.#sessionOf(member);
    const older = (this.#children.get(member.pid) ?? []).map((child) => this.#birthSessionOf(child, member.pid));
    return older.find((session) => session !== member.pid) ?? usual;
  }

  /** Everything below a process that is there; `born`: the session that it was made in. */
  #grow(member: Member, born: number): void {
    const { pid } = member;
    const own = this.#sessionOf(member);
    const children = this.#children.get(pid) ?? [];
    const older = own === pid && member !== this.#root ? this.#older(children, born, own) : [];
    for (const child of older) this.#make(child, pid, born, false);
    if (own === pid) this.#steps.push({ what: 'begin-session', pid });
    this.#makeOthers(
      pid,
      own,
      children.filter((child) => !older.includes(child)),
    );
  }

  /** Of the children of a session's leader: those who were there before. */
  #older(children: readonly Member[], born: number, own: number): Member[] {
    if (born === own || children.some(({ pid }) => pid === born)) return [];
    return children.filter((child) => this.#birthSessionOf(child, own) === born);
  }

  #makeOthers(parent: number, session: number, children: readonly Member[]): void {
    let waiting: Member[] = [];
    for (const child of children) {
      if (this.#birthSessionOf(child, session) === session) this.#make(child, parent, session, false);
      else waiting.push(child);
    }
    while (waiting.length > 0) {
      const unmade = new Set(waiting.map(({ pid }) => pid));
      // A sibling may wait for a sibling; if all do, there is no order.
      const ready = waiting.filter((child) => !unmade.has(this.#birthSessionOf(child, session)));
      if (ready.length === 0) throw oddSession(waiting[0], parent);
      for (const child of ready) {
        const wanted = this.#birthSessionOf(child, session);
        if (!children.some(({ pid }) => pid === wanted)) this.#needHelper(wanted, parent, child);
        this.#make(child, wanted, wanted, true);
      }
      waiting = waiting.filter((child) => !ready.includes(child));
    }
  }

  #make(child: Member, maker: number, session: number, asSibling: boolean): void {
    this.#steps.push({ what: 'make', pid: child.pid, maker, asSibling });
    if (this.#living.has(child.pid)) this.#grow(child, session);
    else if (this.#sessionOf(child) === child.pid) this.#steps.push({ what: 'begin-session', pid: child.pid });
  }

  /** The leader of a session who has ended. */
  #needHelper(session: number, maker: number, child: Member): void {
    if (this.#helpers.has(session)) return;
    if (session === OUTER || this.#members.has(session)) throw oddSession(child, maker);
    this.#steps.push({ what: 'make-helper', pid: session, maker }, { what: 'begin-session', pid: session });
    this.#helpers.add(session);
  }

  #groups(): void {
    const inOrder = [...this.#members.values()];
    for (const member of inOrder) {
      const { pid } = member;
      // Who leads a session leads a group.
      if (this.#groupOf(member) === pid && this.#sessionOf(member) !== pid) {
        this.#steps.push({ what: 'begin-group', pid });
      }
    }
    for (const member of inOrder) {
      const { pid } = member;
      const group = this.#groupOf(member);
      if (group === pid || this.#sessionOf(member) === pid) continue;
      if (group === OUTER) {
        this.#steps.push({ what: 'begin-group', pid });
        continue;
      }
      if (!this.#members.has(group)) this.#needGroupHelper(group, member);
      this.#steps.push({ what: 'join-group', pid, group });
    }
  }

  /** Made by one of the members, because it must be in their session. */
  #needGroupHelper(group: number, member: Member): void {
    if (this.#helpers.has(group)) return;
    const maker = this.#living.has(member.pid) ? member.pid : (member.parent ?? this.#root.pid);
    this.#steps.push({ what: 'make-helper', pid: group, maker }, { what: 'begin-group', pid: group });
    this.#helpers.add(group);
  }
}

const oddSession = (child: Member | undefined, parent: number): ImageError =>
  new ImageError(
    'odd-session',
    `Process ${child?.pid} is in session ${child?.session}, which it could not have got from its parent ${parent}.`,
  );
