/**
 * Watches on files: inotify(7). Read from fdinfo: a line for each watch with its number, mask, device, inode and handle; the path is
 * found by the handle (CAP_DAC_READ_SEARCH). Their numbers come back: the kernel counts up, so watches are made in order and those in
 * between are made and removed. Lost, and told: events that nobody has read. Lost: which number comes next, where higher ones
 * have been removed.
 */
import { lstatSync } from 'node:fs';
import * as v from 'valibot';
import { boundedArray, boundedString, count, integerBetween, u32 } from '../../image/schema.ts';
import { FS } from '../../kernel/abi/fs.ts';
import { INOTIFY } from '../../kernel/abi/inotify.ts';
import { bytesQueued } from '../../kernel/calls/descriptors.ts';
import { addWatch, forgetEvents, makeInotify, removeWatch } from '../../kernel/calls/watches.ts';
import { fdinfoLines } from '../../procfs/fdinfo.ts';
import { malformed } from '../../procfs/proc-text.ts';
import type { LocalFd } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { type FileHandle, pathOfHandle, shownFile } from '../file-by-handle.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorKind, DescriptorView } from '../resource.ts';
import { STATUS_FLAGS } from '../status-flags.ts';

/** A number behind a longer gap is not reached in a moment. */
const MAX_NUMBER = 1 << 20;
const MAX_WATCHES = 1 << 20;

const schema = v.strictObject({
  flags: u32,
  watches: v.pipe(
    boundedArray(
      v.strictObject({ number: integerBetween(1, MAX_NUMBER), path: boundedString(4096), mask: u32 }),
      MAX_WATCHES,
    ),
    v.check(
      (watches) => watches.every(({ number }, index) => index === 0 || number > (watches[index - 1]?.number ?? 0)),
      'must be in ascending order',
    ),
  ),
  /** Of events that nobody has read. */
  waitingBytes: count,
});
type Inotify = v.InferOutput<typeof schema>;

export const inotify: DescriptorKind<Inotify> = {
  kind: 'inotify',
  schema,
  recognise: ({ descriptor }) => descriptor.kind === 'anon_inode' && descriptor.name === 'inotify',
  obstacles,
  collect: (open) => ({
    flags: (open.info.flags & STATUS_FLAGS) >>> 0,
    watches: watchesOf(open).map(({ number, mask, file }) => {
      const path = pathOfHandle(open.pid, file);
      if (path === undefined) throw new QuicksaveError('unknown-watch', `The file of watch ${number} has disappeared.`);
      return { number, path, mask };
    }),
    waitingBytes: bytesQueued(open.own, FS.FIONREAD),
  }),
  plan: ({ watches }, _host, path) =>
    watches
      .filter(
        (watch) => tryStat(watch.path) === undefined && lstatSync(watch.path, { throwIfNoEntry: false }) === undefined,
      )
      .map((watch) => ({
        code: 'missing-file',
        path,
        message: `The watched file ${watch.path} does not exist here.`,
        remedy: 'Put the file back as it was when the image was made.',
      })),
  restore: ({ flags, watches }) => {
    const made = makeInotify(flags);
    let next = 1;
    for (const { number, path, mask } of watches) {
      for (; next < number; next++) skipNumber(made.number, next);
      if (addWatch(made.number, path, mask | INOTIFY.IN_DONT_FOLLOW) !== number) {
        throw new QuicksaveError('watch-number', `The watch of ${path} did not get its number ${number}.`);
      }
      next = number + 1;
    }
    return made;
  },
  // The restart itself has opened files that are watched.
  settle: (_state, own) => forgetEvents(own),
  remark: ({ waitingBytes }, fd) =>
    waitingBytes === 0 ? undefined : `events that waited in inotify ${fd} to be read are not in the image`,
};

interface Watch {
  readonly number: number;
  readonly mask: number;
  readonly file: FileHandle;
}

const NEVER_HAPPENS = '/proc/self';
/** The queue holds 16384 events by default, and each removed watch leaves one. */
const EVENTS_AT_ONCE = 1000;

function skipNumber(own: LocalFd, number: number): void {
  removeWatch(own, addWatch(own, NEVER_HAPPENS, INOTIFY.IN_ALL_EVENTS));
  if (number % EVENTS_AT_ONCE === 0) forgetEvents(own);
}

/** "wd:2 ino:224010 sdev:fe00000 mask:80000fff ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:10402200b3222ecc" */
const watchesOf = ({ info }: DescriptorView): Watch[] =>
  fdinfoLines(info, 'inotify')
    .map(parseWatch)
    .sort((a, b) => a.number - b.number);

function parseWatch(line: string): Watch {
  const match =
    /^wd:([0-9a-f]+) ino:([0-9a-f]+) sdev:([0-9a-f]+) mask:([0-9a-f]+) \S+(?: fhandle-bytes:[0-9a-f]+ fhandle-type:([0-9a-f]+) f_handle:([0-9a-f]*))?$/.exec(
      line.trim(),
    );
  if (match === null) throw malformed('fdinfo', 'a watch of an inotify', line);
  const [, number = '', inode = '', device = '', mask = '', type = '0', handle = ''] = match;
  return {
    // "%x" in fs/notify/fdinfo.c.
    number: Number.parseInt(number, 16),
    mask: (Number.parseInt(mask, 16) & KEPT_MASK) >>> 0,
    file: shownFile(inode, device, type, handle),
  };
}

const KEPT_MASK = INOTIFY.IN_ALL_EVENTS | INOTIFY.IN_ONESHOT | INOTIFY.IN_EXCL_UNLINK;

function obstacles(view: DescriptorView): Problem[] {
  const path = [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target];
  const found = heldOutside(view, 'an inotify');
  for (const { number, file } of watchesOf(view)) {
    if (number <= MAX_NUMBER && pathOfHandle(view.pid, file) !== undefined) continue;
    found.push({
      code: 'unknown-watch',
      path,
      message:
        number > MAX_NUMBER
          ? `Its watch has the number ${number}, which cannot be given again.`
          : `The file of its watch ${number} (inode ${file.inode}) has no name any more, or may not be looked for.`,
      remedy: 'Save it as root, or when the program has removed the watch.',
    });
  }
  return found;
}
