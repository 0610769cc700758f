/**
 * In which order the processes of a tree are made, by whom, and when they begin their sessions. A process gets its session from
 * whoever makes it, and can only leave it for one of its own (setsid(2), credentials(7)):
 *
 * - a child that is in the session which its parent had before it began one of its own is made before that;
 * - a child in the session of a sibling is made by that sibling, as its sibling (CLONE_PARENT of clone(2));
 * - where the leader of a session has ended, a helper with its number begins the session, makes its members, and ends;
 * - a child in the session of somebody else in the tree was orphaned there: that one's helper makes it and ends, and the kernel gives it
 *   to the nearest subreaper (prctl(2)), which is its parent.
 *
 * Groups come when all processes are there. One whose leader has ended is begun by a helper with its number, which ends when
 * the members have joined; one whose leader has gone to another group is begun by that before it goes. The session and the group that the root was given by somebody outside are those of the restart
 * command and one of the root's own.
 */
import { ImageError } from '../support/errors.ts';
import type { ExitedRecord, TaskRecord } from './tree.ts';

/** What has to be done, in this order. All numbers are pids. */
export type Step =
  | { readonly what: 'make'; readonly pid: number; readonly maker: number; readonly asSibling: boolean }
  /** By a helper of the maker that ends at once: a descendant of the parent, which becomes a subreaper for that moment. */
  | { readonly what: 'make-orphan'; readonly pid: number; readonly maker: number; readonly parent: number }
  /** It ends when all groups are made, and nobody hears of it. */
  | { readonly what: 'make-helper'; readonly pid: number; readonly maker: number }
  | { readonly what: 'begin-session'; readonly pid: number }
  | { readonly what: 'begin-group'; readonly pid: number }
  | { readonly what: 'join-group'; readonly pid: number; readonly group: number }
  | { readonly what: 'end-helper'; readonly pid: number };

export type Member = Pick<TaskRecord, 'pid' | 'parent' | 'processGroup' | 'session'>;

/** Of the restart command. No process has it as its number. */
const OUTER = 0;

/** A child whose session somebody has who is no relative that could make it. */
interface Orphan {
  readonly child: Member;
  readonly parent: number;
  readonly session: number;
}

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
  readonly #made = new Set<number>();
  #orphans: Orphan[] = [];
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
    this.#made.add(this.#root.pid);
    this.#grow(this.#root, OUTER);
    this.#makeOrphans();
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
    const { processGroup: ofRoot = OUTER } = this.#root;
    const isInherited = processGroup === ofRoot && !this.#members.has(ofRoot);
    return isInherited ? this.#root.pid : processGroup;
  }

  /** The session that it must be born in. A leader was born in another one, which its oldest children may still be in. */
  #birthSessionOf(member: Member, usual: number): number {
    if (this.#sessionOf(member) !== member.pid) return this.#sessionOf(member);
    const older = (this.#children.get(member.pid) ?? []).map((child) => this.#birthSessionOf(child, member.pid));
    const foreign = older.filter((session) => session !== member.pid);
    return foreign.includes(usual) ? usual : (foreign[0] ?? usual);
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
        const isSibling = children.some(({ pid }) => pid === wanted);
        if (!isSibling && this.#members.has(wanted)) {
          this.#orphans.push({ child, parent, session: wanted });
          continue;
        }
        if (!isSibling) this.#needHelper(wanted, parent, child);
        this.#make(child, wanted, wanted, true);
      }
      waiting = waiting.filter((child) => !ready.includes(child));
    }
  }

  #make(child: Member, maker: number, session: number, asSibling: boolean): void {
    this.#steps.push({ what: 'make', pid: child.pid, maker, asSibling });
    this.#whenMade(child, session);
  }

  #whenMade(child: Member, session: number): void {
    this.#made.add(child.pid);
    if (this.#living.has(child.pid)) this.#grow(child, session);
    else if (this.#sessionOf(child) === child.pid) this.#steps.push({ what: 'begin-session', pid: child.pid });
  }

  /** When all others are there: the leader of the session of one may be a descendant of another. */
  #makeOrphans(): void {
    while (this.#orphans.length > 0) {
      const ready = this.#orphans.find(({ session }) => this.#made.has(session));
      if (ready === undefined) throw oddSession(this.#orphans[0]?.child, this.#orphans[0]?.parent ?? 0);
      const { child, parent, session } = ready;
      this.#orphans = this.#orphans.filter((one) => one !== ready);
      if (!this.#isBelow(session, parent)) throw oddSession(child, parent);
      this.#steps.push({ what: 'make-orphan', pid: child.pid, maker: session, parent });
      this.#whenMade(child, session);
    }
  }

  /** The kernel gives an orphan to an ancestor. */
  #isBelow(pid: number, ancestor: number): boolean {
    for (let at = this.#members.get(pid); at?.parent !== undefined; at = this.#members.get(at.parent)) {
      if (at.parent === ancestor) return true;
    }
    return false;
  }

  /** The leader of a session who has ended. */
  #needHelper(session: number, maker: number, child: Member): void {
    if (this.#helpers.has(session)) return;
    if (session === OUTER) throw oddSession(child, maker);
    this.#steps.push({ what: 'make-helper', pid: session, maker }, { what: 'begin-session', pid: session });
    this.#helpers.add(session);
  }

  #groups(): void {
    this.#refuseTwoGroupsOfOneNumber();
    const inOrder = [...this.#members.values()].filter((member) => this.#sessionOf(member) !== member.pid);
    const wanted = new Set(inOrder.map((member) => this.#groupOf(member)));
    for (const { pid } of inOrder) if (wanted.has(pid)) this.#steps.push({ what: 'begin-group', pid });
    // Who has led a group and is in another one goes when the others have joined it.
    const isLeaving = ({ pid }: Member): boolean => wanted.has(pid);
    const joining = inOrder.filter((member) => ![member.pid, OUTER].includes(this.#groupOf(member)));
    for (const member of [...joining.filter((one) => !isLeaving(one)), ...joining.filter(isLeaving)]) {
      const group = this.#groupOf(member);
      if (!this.#members.has(group)) this.#needGroupHelper(group, member);
      this.#steps.push({ what: 'join-group', pid: member.pid, group });
    }
  }

  /** The root is given a group of its number, which others must not be in that it was not in with them. */
  #refuseTwoGroupsOfOneNumber(): void {
    const { pid, processGroup } = this.#root;
    if (processGroup === pid) return;
    const other = [...this.#members.values()].find((member) => member.processGroup === pid);
    if (other === undefined) return;
    throw new ImageError(
      'odd-group',
      `Process ${other.pid} is in the group ${pid} of the first process, which has gone back to a group of somebody else.`,
    );
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
