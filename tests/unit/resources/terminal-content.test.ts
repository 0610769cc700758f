/** What waits in a pseudo-terminal of our own, and what has to be typed for it. */
import { openSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { parseState } from '../../../src/image/schema.ts';
import { OPEN } from '../../../src/kernel/abi/fcntl.ts';
import { FS } from '../../../src/kernel/abi/fs.ts';
import { IOCTL } from '../../../src/kernel/abi/ioctl.ts';
import { bytesQueued } from '../../../src/kernel/calls/descriptors.ts';
import { openPeer, tellTerminal, terminalSettings } from '../../../src/kernel/calls/pseudo-terminals.ts';
import { KernelObjects } from '../../../src/kernel/kernel-objects.ts';
import { OwnedFd } from '../../../src/kernel/owned-fd.ts';
import {
  contentSchema,
  keystrokes,
  readContent,
  restoreContent,
  type TerminalContent,
} from '../../../src/resources/terminals/terminal-content.ts';

const opened: OwnedFd[] = [];
afterEach(() => {
  for (const fd of opened.splice(0)) fd.close();
});

function newPair(): { master: OwnedFd; slave: OwnedFd } {
  const master = new OwnedFd(openSync('/dev/ptmx', 'r+'));
  tellTerminal(master.number, IOCTL.TIOCSPTLCK, 0, 'lock');
  const slave = openPeer(master.number, OPEN.O_RDWR | OPEN.O_NONBLOCK);
  opened.push(master, slave);
  return { master, slave };
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('what waits in a pseudo-terminal', () => {
  it('is typed so that nothing of it means anything but the ends of lines', () => {
    const typed = { bytes: bytes('a\nb\0c\n\x04\x16\x11\x13\0d'), ends: [1, 3], quotes: false };
    expect(keystrokes(typed)).toEqual(bytes('a\nb\x04c\x16\n\x16\x04\x16\x16\x16\x11\x16\x13\0d'));
  });

  it.each<[string, TerminalContent]>([
    ['a part of a line', { typed: { bytes: bytes('half \x03'), ends: [], quotes: false } }],
    ['a quoting', { typed: { bytes: bytes(''), ends: [], quotes: true } }],
    ['lines, and a part', { typed: { bytes: bytes('one\n\0two'), ends: [3, 4], quotes: false } }],
    ['output', { shown: bytes('shown\r\n') }],
    ['a stop by ^S', { stopped: 'typed', typed: { bytes: bytes('x'), ends: [], quotes: false } }],
    ['a stop by a call, and output', { stopped: 'called', shown: bytes('x') }],
  ])('is the same when it has been brought back: %s', (_, content) => {
    if (KernelObjects.tryOpen() === undefined) return;
    const { master, slave } = newPair();
    const settings = terminalSettings(master.number);
    restoreContent(master.number, settings, content);
    const about = { own: master.number, name: 'it', settings, packets: false, hadSlave: true };
    expect(readContent(about)).toEqual(content);
    expect(bytesQueued(slave.number, FS.FIONREAD)).toBe(content.typed?.ends.length ? 4 : 0);
  });

  it('has lines that end where lines can end', () => {
    const parse = (typed: object): unknown => parseState(contentSchema, { typed: { quotes: false, ...typed } }, 'it');
    expect(() => parse({ bytes: bytes('ab'), ends: [1] })).toThrow(/end with LF or NUL/);
    expect(() => parse({ bytes: bytes('\n\n'), ends: [1, 0] })).toThrow(/ascending/);
    expect(() => parse({ bytes: bytes('\n'), ends: [1] })).toThrow(/among its bytes/);
    expect(parse({ bytes: bytes('a\nb'), ends: [1] })).toBeDefined();
  });
});
