import { appendFileSync, renameSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseState } from '../../../src/image/schema.ts';
import { compareFile, fileIdentity, fileProblem } from '../../../src/resources/file-identity.ts';
import { identityOf, newFile, newFolder, replaceWithFolder } from './folder.ts';

/** A time in whole seconds, so that nothing is lost when it is set. */
const BEFORE = 1_700_000_000;

describe('a file that was saved', () => {
  it('is the same when nobody has touched it', () => {
    expect(compareFile(identityOf(newFile()))).toBe('same');
  });

  it('is the same after a copy that keeps size and time, under another inode', () => {
    const path = newFile();
    utimesSync(path, BEFORE, BEFORE);
    const saved = identityOf(path);
    const copy = newFile();
    utimesSync(copy, BEFORE, BEFORE);
    renameSync(copy, path);
    expect(identityOf(path).inode).not.toBe(saved.inode);
    expect(compareFile(saved)).toBe('same');
  });

  it('has been appended to when it has grown', () => {
    const path = newFile();
    const saved = identityOf(path);
    appendFileSync(path, ' and more');
    expect(compareFile(saved)).toBe('appended');
  });

  it('has changed when it has been written without growing', () => {
    const path = newFile('content');
    utimesSync(path, BEFORE, BEFORE);
    const saved = identityOf(path);
    writeFileSync(path, 'CONTENT');
    expect(compareFile(saved)).toBe('changed');
  });

  it('has changed when its time alone is another by a nanosecond', () => {
    const saved = identityOf(newFile());
    expect(compareFile({ ...saved, modifiedNs: saved.modifiedNs + 1n })).toBe('changed');
  });

  it('has changed when it has become shorter, its time set back or not', () => {
    const path = newFile();
    utimesSync(path, BEFORE, BEFORE);
    const saved = identityOf(path);
    truncateSync(path, 3);
    expect(compareFile(saved)).toBe('changed');
    utimesSync(path, BEFORE, BEFORE);
    expect(compareFile(saved)).toBe('changed');
  });

  it('has changed when a longer one stands in its place', () => {
    const path = newFile();
    const saved = identityOf(path);
    renameSync(newFile('a longer content'), path);
    expect(compareFile(saved)).toBe('changed');
  });

  it('is missing when its name is gone, or leads nowhere', () => {
    const path = newFile();
    const saved = identityOf(path);
    rmSync(path);
    expect(compareFile(saved)).toBe('missing');
    symlinkSync(`${newFolder()}/nothing`, path);
    expect(compareFile(saved)).toBe('missing');
  });

  it('is no regular file when a folder stands in its place', () => {
    const path = newFile();
    const saved = identityOf(path);
    replaceWithFolder(path);
    expect(compareFile(saved)).toBe('not-regular');
  });

  // A save writes the negative time, and every restart refuses the image as a bad record.
  it('may have been changed before 1970', () => {
    const path = newFile();
    utimesSync(path, new Date(-5000), new Date(-5000));
    const saved = identityOf(path);
    expect(saved.modifiedNs).toBeLessThan(0n);
    expect(parseState(fileIdentity, saved, 'FNAME')).toEqual(saved);
  });

  // statSync throws ENOTDIR, which reaches the user as a fault inside quicksave.
  it('is missing when one of its folders has become a file', () => {
    const saved = identityOf(newFile());
    expect(compareFile({ ...saved, path: `${saved.path}/below` })).toBe('missing');
  });
});

describe('the sentence for a file that stands in the way', () => {
  const saved = {
    path: '/var/log/worker',
    device: 1n,
    inode: 2n,
    sizeBytes: 8192n,
    modifiedNs: 1_790_000_000_123_456_789n,
  };
  const where = ['pid 7', 'fd 3'];

  it.each([
    ['missing', 'missing-file', 'does not exist here'],
    ['not-regular', 'missing-file', 'is not a regular file any more'],
    ['changed', 'changed-file', 'has changed since the image was made (it had 8192 bytes'],
    ['appended', 'changed-file', 'has changed since the image was made (it had 8192 bytes'],
  ] as const)('%s: names the file, the reason and a remedy', (found, code, reason) => {
    const problem = fileProblem(saved, found, where);
    expect(problem).toMatchObject({ code, path: where, message: expect.stringContaining(reason) });
    expect(problem.message).toContain('/var/log/worker');
    expect(problem.remedy).toMatch(/^Put the (old )?file back/);
  });

  it('tells when a changed file was last changed', () => {
    expect(fileProblem(saved, 'changed', where).message).toContain('2026-09-21T14:13:20.123Z');
  });

  it('is there for every time that an image may have', () => {
    expect(fileProblem({ ...saved, modifiedNs: 2n ** 64n - 1n }, 'changed', where).message).toContain('2554-07-21');
    expect(fileProblem({ ...saved, modifiedNs: 0n }, 'changed', where).message).toContain('1970-01-01');
  });
});
