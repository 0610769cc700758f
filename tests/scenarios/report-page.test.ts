/** The report page in a real browser. */
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { has, mustRun, newFolder, said, saveAndEnd, start } from '../support/harness.ts';

const program = join(dirname(fileURLToPath(import.meta.url)), '..', 'programs', 'connected.py');
const browserPath = '/usr/bin/chromium';
const isThere = existsSync(browserPath) && has('python3');
let browser: Browser | undefined;

beforeAll(async () => {
  if (isThere) browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] });
});
afterAll(async () => browser?.close());

interface Opened {
  readonly page: Page;
  /** What the page has asked for beside itself, and what went wrong in it. */
  readonly asked: string[];
  readonly faults: string[];
}

async function open(path: string, colorScheme: 'light' | 'dark', width: number): Promise<Opened> {
  if (browser === undefined) throw new Error('there is no browser');
  const page = await browser.newPage({ colorScheme, viewport: { width, height: 900 } });
  const asked: string[] = [];
  const faults: string[] = [];
  page.on('request', (request) => void asked.push(request.url()));
  page.on('console', (message) => void faults.push(message.text()));
  page.on('pageerror', (error) => void faults.push(error.message));
  await page.goto(`file://${path}`);
  return { page, asked: asked.filter((url) => url !== `file://${path}`), faults };
}

const background = (page: Page): Promise<string> => page.evaluate('getComputedStyle(document.body).backgroundColor');

const golden = new URL('../images/golden/v1-tree.qs', import.meta.url).pathname;

test('a report page shows what leaves the tree, what has changed, and the steps of the save, if the image tells', async (context) => {
  if (!isThere) context.skip('there is no chromium or no python3');
  const folder = newFolder();
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const target = start(folder, '/usr/bin/python3', [program, String(port)]);
  await said(target.output, 'ready');
  const [image, later, path] = [join(folder, 'image'), join(folder, 'later'), join(folder, 'page.html')];
  await mustRun('checkpoint', String(target.pid), '-o', image);
  await mustRun('report', image, '--output', path);
  const { timeline } = JSON.parse((await mustRun('inspect', image, '--json')).stdout.toString());
  const { page, faults } = await open(path, 'dark', 1280);

  const outside = page.locator('#graph .node.outside');
  expect(await outside.locator('text').allTextContents()).toEqual([`127.0.0.1:${port}`]);
  expect(await page.locator('#graph .link.out').count()).toBe(1);
  // Two pipes, the watcher of both, and the pair of sockets.
  expect(await page.locator('#graph .link.end').count()).toBe(5);
  // Pages of libraries that the program has written, and the page of shared memory that it has.
  expect(await page.locator('#memory .strip rect.of-changed').count()).toBeGreaterThan(0);
  expect(await page.locator('#memory .strip rect.of-shared').count()).toBeGreaterThan(0);

  const names = await page.locator('#save td:first-child').allTextContents();
  expect(names).toEqual(['look ahead', 'freeze', 'collect', 'secure pages', 'copy', 'pause']);
  // All of the save, and the pause enlarged: as wide as they took long.
  expect(await page.locator('#save svg').count()).toBe(2);
  const widthOf = async (kind: string): Promise<number> =>
    Number(await page.locator(`#save svg >> nth=0 >> rect.${kind}`).getAttribute('width'));
  const [ahead, still] = [await widthOf('step-0'), await widthOf('step-still')];
  expect(still / ahead).toBeCloseTo((timeline.resumedUs - timeline.stoppingUs) / timeline.stoppingUs, 1);

  // Of an incremental image: what is as before, and the little that is not.
  await mustRun('checkpoint', String(target.pid), '-o', later, '--parent', image);
  await mustRun('report', later, '--output', path);
  const next = await open(path, 'light', 1280);
  expect(await next.page.locator('#memory .legend').textContent()).toContain('as in the image before');
  expect(await next.page.locator('#memory .strip rect.of-elsewhere').count()).toBeGreaterThan(10);
  expect(await next.page.locator('#threads').textContent()).toMatch(/time_sleep|libc/);

  await mustRun('report', golden, '--output', path);
  const old = await open(path, 'light', 1280);
  expect(await old.page.locator('#save').textContent()).toBe(
    'The image does not tell when the steps of its save were over.',
  );
  expect([...faults, ...next.faults, ...old.faults]).toEqual([]);
  server.close();
});

test('a report page draws tree, memory, descriptors and threads, asks nobody for anything, and is used by keys', async (context) => {
  if (!isThere) context.skip('there is no chromium or no python3');
  const folder = newFolder();
  const target = start(folder, '/usr/bin/python3', [program]);
  await said(target.output, 'ready');
  const image = join(folder, 'image');
  await saveAndEnd(target.pid, image);
  const path = join(folder, 'page.html');
  await mustRun('report', image, '--output', path);
  expect(statSync(path).size).toBeLessThan(400 * 1024);
  // A name that a program has given itself is no markup.
  expect(readFileSync(path, 'utf8').match(/<\/script>/g)).toHaveLength(2);

  const { page, asked, faults } = await open(path, 'light', 1280);
  expect(await page.title()).toBe(`quicksave: python3 ${target.pid}`);
  expect(await page.locator('#tree .node').count()).toBe(1);
  const rows = page.locator('#memory tbody tr:not(.gap)');
  expect(await rows.count()).toBeGreaterThan(20);
  expect(await page.locator('#memory .strip rect.of-data').count()).toBeGreaterThan(0);
  expect(await page.locator('#memory .strip rect.of-shared').count()).toBeGreaterThan(0);
  expect(await page.locator('#memory td.name', { hasText: '[stack]' }).count()).toBe(1);
  // Two pipes of two ends each, and the watcher of both.
  expect(await page.locator('#graph .link.end').count()).toBe(4);
  expect(await page.locator('#threads .registers').textContent()).toContain('rip0x');
  expect(await page.locator('#threads option').count()).toBe(2);

  // To scale: as wide as they are long.
  const widths = await page.evaluate(`[...document.querySelectorAll('#memory tbody tr:not(.gap)')].map((row) => [
    row.children[1].textContent, Number(row.querySelector('rect').getAttribute('width'))])`);
  const large = (widths as [string, number][])
    .map(([label, width]) => ({ mebibytes: Number(/^([\d.]+) MiB$/.exec(label)?.[1] ?? 0), width }))
    .filter(({ mebibytes }) => mebibytes >= 8)
    .sort((a, b) => b.mebibytes - a.mebibytes);
  const [first, second] = large;
  if (first === undefined || second === undefined) throw new Error('the program has two mappings of 8 MiB and more');
  // Nobody knows their sizes: the kernel joins neighbours.
  expect(first.width / second.width).toBeCloseTo(first.mebibytes / second.mebibytes, 1);

  // Keys: the node of the tree, then the rows of the map.
  await page.locator('#tree .node').focus();
  await page.keyboard.press('Enter');
  expect(await page.locator('#tree .node').getAttribute('aria-pressed')).toBe('true');
  await rows.first().focus();
  await page.keyboard.press('ArrowDown');
  expect(await rows.nth(1).getAttribute('class')).toBe('chosen');
  await page.locator('#graph .node.object').first().focus();
  await page.keyboard.press(' ');
  expect(await page.locator('#graph .link.lit').count()).toBeGreaterThan(0);

  const light = await background(page);
  await page.getByRole('button', { name: 'dark', exact: true }).click();
  expect(await background(page)).not.toBe(light);
  expect(asked).toEqual([]);
  expect(faults).toEqual([]);

  const tree = await open(withFamily(path, target.pid, folder), 'light', 1280);
  expect(await tree.page.locator('#tree .node').count()).toBe(4);
  expect(await tree.page.locator('#tree .link').count()).toBe(3);
  await tree.page.locator('#tree .node').nth(2).click();
  expect(await tree.page.locator('h2').nth(1).textContent()).toMatch(/^Memory of [23] child [23]$/);
  expect(await tree.page.locator('#graph .node.process').count()).toBe(4);
  expect(tree.faults).toEqual([]);

  const narrow = await open(path, 'dark', 420);
  expect(await background(narrow.page)).not.toBe(light);
  expect(await narrow.page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(420);
  expect(narrow.faults).toEqual([]);
});

/** The same page with two children of the process, one of which has a child. */
function withFamily(path: string, pid: number, folder: string): string {
  const html = readFileSync(path, 'utf8');
  const [, json = ''] = /id="data">(.*)<\/script>/.exec(html) ?? [];
  const data = JSON.parse(json) as { processes: { pid: number; parent?: number; comm: string }[] };
  const [root] = data.processes;
  if (root === undefined) throw new Error('the page has no process');
  for (const [child, parent] of [
    [2, pid],
    [3, pid],
    [4, 3],
  ] as const) {
    data.processes.push({ ...root, pid: child, parent, comm: `child ${child}` });
  }
  const file = join(folder, 'family.html');
  writeFileSync(
    file,
    html.replace(json, () => JSON.stringify(data).replaceAll('<', '\\u003c')),
  );
  return file;
}
