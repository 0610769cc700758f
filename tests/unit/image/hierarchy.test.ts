/** In which order the processes of a tree are made, and by whom. */
import { describe, expect, it } from 'vitest';
import { type Member, planHierarchy, type Step } from '../../../src/image/hierarchy.ts';
import type { ExitedRecord } from '../../../src/image/tree.ts';

const OUTER = 7;
/** The root leads neither its session nor its group. */
const root: Member = { pid: 10, session: OUTER, processGroup: OUTER };
const child = (pid: number, parent: number, session = OUTER, processGroup = OUTER): Member => ({
  pid,
  parent,
  session,
  processGroup,
});
const exited = (pid: number, parent: number, session = OUTER, processGroup = OUTER): ExitedRecord => ({
  ...{ pid, parent, comm: 'gone', session, processGroup, exitSignal: 17, exitCode: 0 },
});

const text = (step: Step): string => {
  if (step.what === 'make') return `${step.maker} makes ${step.pid}${step.asSibling ? ' as its sibling' : ''}`;
  if (step.what === 'make-helper') return `${step.maker} makes helper ${step.pid}`;
  if (step.what === 'make-orphan') return `${step.maker} makes ${step.pid}, an orphan of ${step.parent}`;
  if (step.what === 'join-group') return `${step.pid} joins ${step.group}`;
  return `${step.pid} ${step.what}`;
};
const steps = (members: Member[], ended: ExitedRecord[] = []): string[] =>
  planHierarchy(members, ended).steps.map(text);

describe('a tree', () => {
  it('of an image from before trees has no steps', () => {
    expect(steps([{ pid: 10 }])).toEqual([]);
  });

  it('in a session and a group from outside is in those of the command and in one of the root', () => {
    expect(steps([root, child(11, 10), child(12, 11)])).toEqual([
      '10 makes 11',
      '11 makes 12',
      '10 begin-group',
      '11 joins 10',
      '12 joins 10',
    ]);
  });

  it('whose root leads a session has that before its children', () => {
    const leader = { pid: 10, session: 10, processGroup: 10 };
    expect(steps([leader, child(11, 10, 10, 10)])).toEqual(['10 begin-session', '10 makes 11', '11 joins 10']);
  });

  it('has a session of its own for a child that leads one, in which the children of that are born', () => {
    expect(steps([root, child(11, 10, 11, 11), child(12, 11, 11, 11), child(13, 11, 11, 13)])).toEqual([
      '10 makes 11',
      '11 begin-session',
      '11 makes 12',
      '11 makes 13',
      '10 begin-group',
      '13 begin-group',
      '12 joins 11',
    ]);
  });

  it('has all groups begun before anybody joins one', () => {
    expect(steps([root, child(11, 10, OUTER, 12), child(12, 10, OUTER, 12)])).toEqual([
      '10 makes 11',
      '10 makes 12',
      '10 begin-group',
      '12 begin-group',
      '11 joins 12',
    ]);
  });

  it('has children that are older than the session of their parent made before it', () => {
    const members = [root, child(11, 10, 11, 11), child(12, 11, OUTER, OUTER), child(13, 11, 11, 11)];
    expect(steps(members)).toEqual([
      '10 makes 11',
      '11 makes 12',
      '11 begin-session',
      '11 makes 13',
      '10 begin-group',
      '12 joins 10',
      '13 joins 11',
    ]);
  });

  it('has the member of a session that a sibling leads made by that', () => {
    const members = [root, child(11, 10, 12, 12), child(12, 10, 12, 12)];
    expect(steps(members)).toEqual([
      '10 makes 12',
      '12 begin-session',
      '12 makes 11 as its sibling',
      '10 begin-group',
      '11 joins 12',
    ]);
  });

  it('has a helper in the place of a leader of a session that has ended', () => {
    const { helpers } = planHierarchy([root, child(11, 10, 50, 50)], []);
    expect(helpers).toEqual([50]);
    expect(steps([root, child(11, 10, 50, 50)])).toEqual([
      '10 makes helper 50',
      '50 begin-session',
      '50 makes 11 as its sibling',
      '10 begin-group',
      '11 joins 50',
      '50 end-helper',
    ]);
  });

  it('has one helper in the place of a leader of a group that has ended', () => {
    expect(steps([root, child(11, 10, OUTER, 60), child(12, 10, OUTER, 60)])).toEqual([
      '10 makes 11',
      '10 makes 12',
      '10 begin-group',
      '11 makes helper 60',
      '60 begin-group',
      '11 joins 60',
      '12 joins 60',
      '60 end-helper',
    ]);
  });

  it('has those that have ended in their places', () => {
    expect(steps([root], [exited(11, 10)])).toEqual(['10 makes 11', '10 begin-group', '11 joins 10']);
  });

  it('has the session of a leader that has ended and was not waited for begun by that, without a helper', () => {
    expect(planHierarchy([root, child(12, 10, 11, 11)], [exited(11, 10, 11, 11)]).helpers).toEqual([]);
    expect(steps([root, child(12, 10, 11, 11)], [exited(11, 10, 11, 11)])).toEqual([
      '10 makes 11',
      '11 begin-session',
      '11 makes 12 as its sibling',
      '10 begin-group',
      '12 joins 11',
    ]);
  });

  it('has the group of a leader that has ended and was not waited for begun by that, without a helper', () => {
    expect(planHierarchy([root, child(12, 10, OUTER, 11)], [exited(11, 10, OUTER, 11)]).helpers).toEqual([]);
    expect(steps([root, child(12, 10, OUTER, 11)], [exited(11, 10, OUTER, 11)])).toEqual([
      '10 makes 12',
      '10 makes 11',
      '10 begin-group',
      '11 begin-group',
      '12 joins 11',
    ]);
  });

  it('has a helper for the session of a leader that has ended serve its members as the leader of their group too', () => {
    const members = [root, child(11, 10, 50, 50), child(12, 10, 50, 50), child(13, 12, 50, 60)];
    expect(planHierarchy(members, []).helpers).toEqual([50, 60]);
    expect(steps(members)).toEqual([
      '10 makes helper 50',
      '50 begin-session',
      '50 makes 11 as its sibling',
      '50 makes 12 as its sibling',
      '12 makes 13',
      '10 begin-group',
      '11 joins 50',
      '12 joins 50',
      '13 makes helper 60',
      '60 begin-group',
      '13 joins 60',
      '50 end-helper',
      '60 end-helper',
    ]);
  });

  it('with two siblings that lead each other’s sessions is no tree that could be', () => {
    expect(() => steps([root, child(11, 10, 12, 12), child(12, 10, 11, 11)])).toThrow(/Process 11 is in session 12/);
  });

  it('whose member was orphaned has that made by a helper in its session', () => {
    // A shell (12) below the root began a session and a job in it; whoever started the job has ended.
    const members = [root, child(11, 10), child(12, 11, 12, 12), child(14, 10, 12, 12), child(15, 14, 12, 12)];
    expect(steps(members)).toEqual([
      '10 makes 11',
      '11 makes 12',
      '12 begin-session',
      '12 makes 14, an orphan of 10',
      '14 makes 15',
      '10 begin-group',
      '11 joins 10',
      '14 joins 12',
      '15 joins 12',
    ]);
  });

  it('has a group begun by a leader that is in another one now', () => {
    const members = [root, child(13, 10), child(14, 13, OUTER, 13)];
    expect(steps(members)).toEqual([
      '10 makes 13',
      '13 makes 14',
      '10 begin-group',
      '13 begin-group',
      '14 joins 13',
      '13 joins 10',
    ]);
  });

  it('with a group that its root has led and left is refused', () => {
    const members = [root, child(11, 10), child(13, 10, OUTER, 10)];
    expect(() => steps(members)).toThrow(/Process 13 is in the group 10 of the first process/);
  });

  it('goes by the session of the maker where children are of several', () => {
    const members = [root, child(11, 10, 11, 11), child(12, 11, 50, 50), child(13, 11)];
    expect(planHierarchy(members, []).helpers).toEqual([50]);
  });

  it('with a member in the session of a descendant is no tree that could be', () => {
    const members = [root, child(11, 10, 12, 12), child(12, 11, 12, 12)];
    expect(() => steps(members)).toThrow(/Process 11 is in session 12, which it could not have got from its parent 10/);
  });
});
