/** Processes and threads come back in the cgroups that they were in: version 1, version 2 and its threaded groups. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, expect, type TestContext, test } from 'vitest';
import { pathsOf } from '../../src/restart/cgroups.ts';
import { asPid } from '../../src/support/brand.ts';
import { below, expectCgroup, newCgroup, put, removeCgroup, tasksIn } from '../support/cgroups.ts';
import {
  bringBack,
  compiled,
  gone,
  isAlive,
  mustRun,
  newFolder,
  quicksave,
  remember,
  said,
  saveAndEnd,
  start,
} from '../support/harness.ts';

const UNIFIED = '';

interface Tree {
  readonly folder: string;
  readonly output: string;
  readonly leader: number;
  readonly thread: number;
  readonly child: number;
  readonly image: string;
}

async function startTree(): Promise<Tree> {
  const folder = newFolder();
  const target = start(folder, compiled('in-cgroups'));
  await said(target.output, 'ready');
  const [leader = 0, thread = 0, child = 0] = readFileSync(join(folder, 'who'), 'latin1').split(' ').map(Number);
  remember(child);
  // The child first: it ends with its parent.
  trees.push(child, leader);
  return { folder, output: target.output, leader, thread, child, image: join(folder, 'image') };
}

const trees: number[] = [];
afterEach(() => {
  for (const pid of trees.splice(0)) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
});

/** All three know where they are. */
async function note({ folder, output }: Tree): Promise<void> {
  writeFileSync(join(folder, 'note'), '');
  for (const who of ['leader', 'thread', 'child']) await said(output, `noted by the ${who}`);
}

/** They find themselves where they noted that they were. */
async function checksItself({ folder, output, leader }: Tree): Promise<void> {
  writeFileSync(join(folder, 'go'), '');
  await said(output, 'ok');
  expect(readFileSync(output, 'latin1')).not.toContain('not ok');
  await gone(leader);
}

const ownPath = (controllers = UNIFIED): string => pathsOf(asPid(process.pid)).get(controllers) ?? '';

function groupOr(context: TestContext, controllers: string): string {
  const group = newCgroup(controllers);
  if (group === undefined) context.skip(`no hierarchy ${controllers || 'of version 2'} may be written to`);
  return group as string;
}

test.for([UNIFIED, 'freezer', 'pids'])(
  'processes come back in their cgroups (hierarchy "%s")',
  async (controllers, context) => {
    const group = groupOr(context, controllers);
    const inner = below(group, 'inner');
    const tree = await startTree();
    put(tree.leader, group);
    put(tree.child, inner);
    await note(tree);
    await saveAndEnd(tree.leader, tree.image);
    await bringBack(tree.image);
    expect(tasksIn(group)).toEqual([tree.leader]);
    expect(tasksIn(inner)).toEqual([tree.child]);
    await checksItself(tree);
  },
);

test('a child comes back in the cgroup of the restart command when its parent has left that', async (context) => {
  const group = groupOr(context, UNIFIED);
  const tree = await startTree();
  put(tree.leader, group);
  await note(tree);
  await saveAndEnd(tree.leader, tree.image);
  await bringBack(tree.image);
  expect(tasksIn(group)).toEqual([tree.leader]);
  await checksItself(tree);
});

test('a thread comes back in a cgroup of its own of version 1', async (context) => {
  const group = groupOr(context, 'cpu');
  const tree = await startTree();
  put(tree.thread, group, 'tasks');
  await note(tree);
  await saveAndEnd(tree.leader, tree.image);
  await bringBack(tree.image);
  expect(tasksIn(group, 'tasks')).toEqual([tree.thread]);
  await checksItself(tree);
});

/** A leader in a group, its thread in a threaded one below it. */
async function startThreaded(context: TestContext): Promise<{ tree: Tree; group: string; threaded: string }> {
  const group = groupOr(context, UNIFIED);
  const threaded = below(group, 'threaded');
  writeFileSync(`${threaded}/cgroup.type`, 'threaded');
  const tree = await startTree();
  put(tree.leader, group);
  put(tree.thread, threaded, 'cgroup.threads');
  await note(tree);
  await saveAndEnd(tree.leader, tree.image);
  return { tree, group, threaded };
}

test('a thread comes back in a threaded cgroup of version 2', async (context) => {
  const { tree, threaded } = await startThreaded(context);
  await bringBack(tree.image);
  expect(tasksIn(threaded, 'cgroup.threads')).toEqual([tree.thread]);
  await checksItself(tree);
});

test('missing cgroups are made by --cgroups, threaded ones too', async (context) => {
  const { tree, group, threaded } = await startThreaded(context);
  await removeCgroup(threaded);
  await removeCgroup(group);
  expectCgroup(group);
  expectCgroup(threaded);
  const { stderr } = await mustRun('restart', tree.image, '--detach', '--cgroups');
  expect(stderr).toContain(`${basename(group)} was made; the settings of its controllers are not those that it had`);
  expect(tasksIn(group)).toEqual([tree.leader]);
  expect(tasksIn(threaded, 'cgroup.threads')).toEqual([tree.thread]);
  await checksItself(tree);
});

test.for(['freezer', 'cpuset'])(
  'missing cgroups are made by --cgroups (hierarchy "%s")',
  async (controllers, context) => {
    const group = groupOr(context, controllers);
    for (const name of ['cpuset.cpus', 'cpuset.mems']) {
      if (existsSync(`${group}/${name}`)) writeFileSync(`${group}/${name}`, readFileSync(`${group}/../${name}`));
    }
    const tree = await startTree();
    put(tree.leader, group);
    await note(tree);
    await saveAndEnd(tree.leader, tree.image);
    await removeCgroup(group);
    expectCgroup(group);
    await mustRun('restart', tree.image, '--detach', '--cgroups');
    expect(tasksIn(group)).toEqual([tree.leader]);
    await checksItself(tree);
  },
);

test('a cgroup that is missing is told, and one that was made for a restart that fails is taken away', async (context) => {
  const group = groupOr(context, UNIFIED);
  const tree = await startTree();
  put(tree.leader, group);
  await note(tree);
  await saveAndEnd(tree.leader, tree.image);
  await removeCgroup(group);
  const pidFile = join(tree.folder, 'missing', 'pid');
  const failed = await quicksave('restart', tree.image, '--detach', '--cgroups', '--pid-file', pidFile);
  expect(failed.stderr).toContain(pidFile);
  expect(existsSync(group)).toBe(false);
  const { stderr } = await mustRun('restart', tree.image, '--detach');
  expect(stderr).toContain(`${basename(group)}, is ${ownPath()}: there is no such group here (--cgroups makes it)`);
  expect(existsSync(group)).toBe(false);
});

test('a process stays in the cgroups of the restart command with --no-cgroups', async (context) => {
  const group = groupOr(context, UNIFIED);
  const tree = await startTree();
  put(tree.leader, group);
  await note(tree);
  await saveAndEnd(tree.leader, tree.image);
  const { stderr } = await mustRun('restart', tree.image, '--detach', '--no-cgroups');
  expect(stderr).toContain(`${basename(group)}, is ${ownPath()}`);
  expect(tasksIn(group)).toEqual([]);
  expect(isAlive(tree.leader)).toBe(true);
});

test('a restart into a cgroup that has no room for it is refused before anything is made', async (context) => {
  const group = groupOr(context, 'pids');
  const tree = await startTree();
  put(tree.leader, group);
  put(tree.child, group);
  await note(tree);
  await saveAndEnd(tree.leader, tree.image);
  writeFileSync(`${group}/pids.max`, '2');
  const { status, stderr } = await quicksave('restart', tree.image, '--detach');
  expect(status).not.toBe(0);
  expect(stderr).toContain(`It has 3 processes and threads for ${group}, which may have 2 and has 0.`);
  expect(tasksIn(group)).toEqual([]);
  writeFileSync(`${group}/pids.max`, '3');
  await bringBack(tree.image);
  await checksItself(tree);
});

test.for([
  [UNIFIED, 'cgroup.freeze', '1'],
  ['freezer', 'freezer.state', 'FROZEN'],
] as const)('a frozen cgroup (hierarchy "%s") is not joined', async ([controllers, file, frozen], context) => {
  const group = groupOr(context, controllers);
  const tree = await startTree();
  put(tree.leader, group);
  await note(tree);
  await saveAndEnd(tree.leader, tree.image);
  writeFileSync(`${group}/${file}`, frozen);
  const refused = await quicksave('restart', tree.image, '--detach', '--cgroups');
  expect(refused.stderr).toContain(`${basename(group)}: it is frozen.`);
  expect(refused.status).not.toBe(0);
  const { stderr } = await mustRun('restart', tree.image, '--detach');
  expect(stderr).toContain(`${basename(group)}, is ${ownPath(controllers)}: it is frozen`);
  expect(tasksIn(group)).toEqual([]);
});
