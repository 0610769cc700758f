/** In which order the processes of a tree are made, and by whom. */
import { describe, expect, it } from 'vitest';
import type { ExitedRecord } from '../../../src/image/tree.ts';
import { refuseOddEnd } from '../../../src/restart/exited.ts';
import { type Member, planHierarchy, type Step } from '../../../src/restart/hierarchy.ts';

const OUTER = 7;
/** The root leads neither its session nor its group. */
const root: Member = { pid: 10, session: OUTER, processGroup: OUTER };
const child = (pid: number, parent: number, session = OUTER, processGroup = OUTER): Member => ({
  pid,
  parent,
  session,
  processGroup,
});
const exited = (pid: number, parent: number, exitCode = 0): ExitedRecord => ({
  ...{ pid, parent, comm: 'gone', session: OUTER, processGroup: OUTER, exitSignal: 17, exitCode },
});

const text = (step: Step): string => {
  if (step.what === 'make') return `${step.maker} makes ${step.pid}${step.asSibling ? ' as its sibling' : ''}`;
  if (step.what === 'make-helper') return `${step.maker} makes helper ${step.pid}`;
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

  it('has those that have ended in their places, and nobody is made by them', () => {
    expect(steps([root], [exited(11, 10)])).toEqual(['10 makes 11', '10 begin-group', '11 joins 10']);
  });

  it('with a member in the session of a descendant is no tree that could be', () => {
    const members = [root, child(11, 10, 12, 12), child(12, 11, 12, 12)];
    expect(() => steps(members)).toThrow(/Process 11 is in session 12, which it could not have got from its parent 10/);
  });
});

describe('an end', () => {
  it.each([0, 7 << 8, 255 << 8, 9, 15, 64, 11 | 0x80])('with code %i is one that a process can have', (code) => {
    expect(() => refuseOddEnd(exited(11, 10, code))).not.toThrow();
  });

  it.each([0x80, 17, 19, 65, 0x7f, 0x13f, (1 << 8) | 9])('with code %i is none', (code) => {
    expect(() => refuseOddEnd(exited(11, 10, code))).toThrow(/nothing ends with code/);
  });
});
