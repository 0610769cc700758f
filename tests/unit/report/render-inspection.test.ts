import { describe, expect, it } from 'vitest';
import { inspectImage } from '../../../src/report/inspect.ts';
import { renderInspection } from '../../../src/report/render-inspection.ts';
import { MemorySource } from '../image/streams.ts';
import { processImage } from './sample-image.ts';

const text = renderInspection(inspectImage(new MemorySource(processImage())));
/** Blanks between columns are of no matter. */
const lines = text.split('\n').map((line) => line.trim().replace(/ +/g, ' '));

describe('a rendered inspection', () => {
  it.each([
    'image a1b2c3, format version 1',
    'made 2026-09-21T14:13:20.000Z by quicksave 0.1.0',
    'xstate 2696 bytes: x87, SSE, avx',
    'look ahead at 0 µs 61.3 ms',
    'freeze at 61.3 ms 420 µs',
    'copy at 70 ms 1.24 s',
    'resume at 71.3 ms after a pause of 10 ms',
    'process 4242 (worker), 2 threads',
    'executable /usr/bin/worker',
    'credentials uid 1000, gid 100, groups 100 27',
    'capabilities none',
    'limits RLIMIT_NOFILE 1024, at most 4096',
    'signal actions SIGINT ignored',
    'SIGUSR1 handler 0x401234, SA_RESTART, blocks SIGINT',
    'from the future words {a b}, deep {bytes {2 bytes 00ff}}',
    'memory map fields executable 12, start code 1',
    'thread 4243 (helper)',
    'in its own code',
    'in clock_nanosleep(0x1, 0x0, 0x7ffd1000, 0x7ffd2000), which goes on for the time that is left',
    'own pending signals pending: SIGTERM',
    'blocked signals all but SIGKILL SIGSTOP',
    'flags PF ZF IF',
    '400000-402000 8.0 KiB r-x 0x1000 private-file - /usr/bin/worker',
    '500000-504000 16.0 KiB rw- 0x0 anonymous 1 page + 2 zero arena',
    '504000-506000 8.0 KiB rw- 0x0 anonymous 1 page [grows down] [zz]',
    '1 regular-file #13 O_WRONLY O_APPEND at 77 /var/log/worker build id ab12, writable false',
    '9 from-the-future #14 O_RDWR /tmp/x colour blue',
    'anonymous 8.0 KiB 2 mappings, 2 pages + 2 zero',
    'content of #14 8.0 KiB 2 pages',
  ])('has the line "%s"', (line) => {
    expect(lines).toContain(line);
  });

  it('lets nothing in an image steer the terminal', () => {
    expect(lines.find((line) => line.includes('working directory'))).toBe(
      'file system context working directory /home/?[31mred, umask 027',
    );
    expect(text).not.toContain('\u001b');
  });

  it('leaves out debug registers without a breakpoint', () => {
    expect(text).not.toContain('dr6');
  });

  it('has no blanks at the ends of lines, and one line end at its own', () => {
    expect(text).not.toMatch(/ \n/);
    expect(text).toMatch(/[^\n]\n$/);
  });
});

it('sets its titles off, and is the same text otherwise', () => {
  const painted = renderInspection(inspectImage(new MemorySource(processImage())), undefined, (style, part) =>
    part === '' ? '' : `<${style}>${part}</>`,
  );
  expect(painted).toContain('\n<bold>sizes</>\n');
  expect(painted.replaceAll(/<bold>|<\/>/g, '')).toBe(text);
});
