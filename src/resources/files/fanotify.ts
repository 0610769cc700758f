/**
 * A group of fanotify(7), with its marks on files, mounts, file systems and the mount namespace. Read from fdinfo: what it was made with, and a line for each mark; the
 * path of a file is found by the handle (CAP_DAC_READ_SEARCH), that of a mount or file system is a mount point. Whether its maker had CAP_SYS_ADMIN, the group remembers:
 * then it tells whose doing an event was. That is read where the kernel keeps it (CAP_BPF, CAP_PERFMON); else it is what its flags and marks tell.
 * A group that grants access (FAN_CLASS_CONTENT, FAN_CLASS_PRE_CONTENT) is refused before any file is opened: whoever opens one that it has marked waits for the program,
 * which stands still. Lost, and told: events that nobody has read. Lost: what others and the restart itself do with marked files until it goes on.
 */
import { lstatSync, readlinkSync } from 'node:fs';
import * as v from 'valibot';
import { boundedArray, boundedString, count, u32 } from '../../image/schema.ts';
import { CAP } from '../../kernel/abi/capability.ts';
import { FAN } from '../../kernel/abi/fanotify.ts';
import { FCNTL } from '../../kernel/abi/fcntl.ts';
import { FS } from '../../kernel/abi/fs.ts';
import { bytesQueued, fcntl } from '../../kernel/calls/descriptors.ts';
import { addMark, forgetMarkEvents, makeFanotify } from '../../kernel/calls/fanotify.ts';
import { withoutCapability } from '../../kernel/calls/own-capabilities.ts';
import { KernelObjects, UnknownKernelObject } from '../../kernel/kernel-objects.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { fdinfoLines } from '../../procfs/fdinfo.ts';
import { type Mount, readMountinfo } from '../../procfs/mountinfo.ts';
import { malformed } from '../../procfs/proc-text.ts';
import type { LocalFd, Pid } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { tryStat } from '../../support/try-stat.ts';
import { type FileHandle, pathOfHandle, shownDevice, shownFile } from '../file-by-handle.ts';
import { heldOutside } from '../held-outside.ts';
import type { DescriptorKind, DescriptorView, HostView } from '../resource.ts';
import { STATUS_FLAGS } from '../status-flags.ts';

const MAX_MARKS = 1 << 20;
/** Of a group that grants access: whoever opens what it has marked waits for it. None is saved, and none is made for an image that says so. */
const GRANTS_ACCESS = FAN.FAN_CLASS_CONTENT | FAN.FAN_CLASS_PRE_CONTENT;
const grantsAccess = (flags: number): boolean => (flags & GRANTS_ACCESS) !== 0;

const schema = v.strictObject({
  flags: u32,
  /** Of fanotify_init(2): its own, and those of the files that it opens. */
  made: v.strictObject({
    flags: v.pipe(
      u32,
      v.check((flags) => !grantsAccess(flags), 'must not be of a group that grants access'),
    ),
    eventFlags: u32,
  }),
  /** Its maker had CAP_SYS_ADMIN. */
  privileged: v.boolean(),
  marks: boundedArray(
    v.strictObject({
      on: v.picklist(['file', 'mount', 'file system', 'mount namespace']),
      path: boundedString(4096),
      /** FAN_MARK_*. */
      flags: u32,
      mask: u32,
      ignored: u32,
    }),
    MAX_MARKS,
  ),
  /** Of events that nobody has read. */
  waitingBytes: count,
});
type Fanotify = v.InferOutput<typeof schema>;
type State = Fanotify['marks'][number];

export const fanotify: DescriptorKind<Fanotify> = {
  kind: 'fanotify',
  schema,
  recognise: ({ descriptor }) => descriptor.kind === 'anon_inode' && descriptor.name === 'fanotify',
  obstacles,
  collect: (open) => {
    const made = madeWith(open);
    const marks = marksOf(open).map((mark) => {
      const path = pathOf(mark, open.pid);
      if (path === undefined) throw new QuicksaveError('unknown-watch', `What ${mark.text} marks has disappeared.`);
      const { on, flags, mask, ignored } = mark;
      return { on, path, flags, mask, ignored };
    });
    return {
      flags: (open.info.flags & STATUS_FLAGS) >>> 0,
      made,
      privileged: tryAskPrivileged(open.own) ?? needsPrivileges(made.flags, marks),
      marks,
      waitingBytes: bytesQueued(open.own, FS.FIONREAD),
    };
  },
  plan: ({ privileged, marks }, host, path) => [
    ...(privileged && !isAdministrator(host) ? [notAdministrator(path)] : []),
    ...missingMarks(marks, host, path),
  ],
  restore: ({ flags, made, privileged }) => {
    const make = (): OwnedFd => makeFanotify(made.flags, made.eventFlags);
    const group = privileged ? make() : withoutCapability(CAP.CAP_SYS_ADMIN, make);
    fcntl(group.number, FCNTL.F_SETFL, flags, 'set the flags of a fanotify');
    return group;
  },
  // The restart itself has opened files that are marked.
  settle: ({ marks }, own) => {
    for (const mark of marks) setMark(own, mark);
    forgetMarkEvents(own);
  },
  remark: ({ waitingBytes }, fd) =>
    waitingBytes === 0 ? undefined : `events that waited in fanotify ${fd} to be read are not in the image`,
};

/** "flags:1eb0 event-flags:8000" */
function madeWith({ info }: DescriptorView): Fanotify['made'] {
  const lines = fdinfoLines(info, 'fanotify');
  const match = lines.map((line) => /^flags:([0-9a-f]+) event-flags:([0-9a-f]+)$/.exec(line.trim())).find(Boolean);
  if (match == null) throw malformed('fdinfo', 'what a fanotify was made with', lines.join(' | '));
  return { flags: Number.parseInt(match[1] ?? '', 16), eventFlags: Number.parseInt(match[2] ?? '', 16) };
}

type Place =
  | { readonly on: 'file'; readonly file: FileHandle }
  | { readonly on: 'mount'; readonly mountId: number }
  | { readonly on: 'file system'; readonly device: FileHandle['device'] }
  | { readonly on: 'mount namespace'; readonly inode: string };

type Mark = Place & Omit<State, 'on' | 'path'> & { /** For messages. */ readonly text: string };

const marksOf = ({ info }: DescriptorView): Mark[] =>
  fdinfoLines(info, 'fanotify')
    .map((line) => line.trim())
    .filter((line) => !line.startsWith('flags:'))
    .map(parseMark);

/** "ino:3f7e8 sdev:fe00000 mflags:0 mask:8000038 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:e8f7030000000000" */
function parseMark(line: string): Mark {
  const match =
    /^(?:ino:([0-9a-f]+) sdev:([0-9a-f]+)|mnt_id:([0-9a-f]+)|sdev:([0-9a-f]+)|mnt_ns:(\d+)) mflags:([0-9a-f]+) mask:([0-9a-f]+) ignored_mask:([0-9a-f]+)(?: fhandle-bytes:[0-9a-f]+ fhandle-type:([0-9a-f]+) f_handle:([0-9a-f]*))?$/.exec(
      line,
    );
  if (match === null) throw malformed('fdinfo', 'a mark of a fanotify', line);
  const [, inode, device = '', mount, system, namespace, flags = '', mask = '', ignored = '', type = '0', handle = ''] =
    match;
  const common = {
    flags: Number.parseInt(flags, 16),
    mask: Number.parseInt(mask, 16),
    ignored: Number.parseInt(ignored, 16),
  };
  if (inode !== undefined) {
    return {
      ...common,
      on: 'file',
      file: shownFile(inode, device, type, handle),
      text: `the mark on inode 0x${inode}`,
    };
  }
  // "%x" in fs/notify/fdinfo.c.
  if (mount !== undefined) {
    const mountId = Number.parseInt(mount, 16);
    return { ...common, on: 'mount', mountId, text: `the mark on mount ${mountId}` };
  }
  if (system !== undefined) {
    return { ...common, on: 'file system', device: shownDevice(system), text: `the mark on file system 0x${system}` };
  }
  return { ...common, on: 'mount namespace', inode: namespace ?? '', text: `the mark on mount namespace ${namespace}` };
}

const OWN_MOUNTS = '/proc/self/ns/mnt';

/** By which the mark is set again. Undefined if there is none. */
function pathOf(mark: Mark, pid: Pid): string | undefined {
  if (mark.on === 'file') return pathOfHandle(pid, mark.file);
  if (mark.on === 'mount namespace') return readlinkSync(OWN_MOUNTS) === `mnt:[${mark.inode}]` ? OWN_MOUNTS : undefined;
  const mounts = readMountinfo(pid);
  const isMeant =
    mark.on === 'mount'
      ? ({ mountId }: Mount): boolean => mountId === mark.mountId
      : ({ device }: Mount): boolean => device.major === mark.device.major && device.minor === mark.device.minor;
  return mounts.find((one) => isMeant(one) && isOnTop(one, mounts))?.mountPoint;
}

/** Its mount point leads to it, and not to one that was mounted over it. */
const isOnTop = ({ mountId, mountPoint }: Mount, mounts: readonly Mount[]): boolean =>
  mounts.findLast((other) => other.mountPoint === mountPoint)?.mountId === mountId;

function obstacles(view: DescriptorView): Problem[] {
  const path = [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target];
  if (grantsAccess(madeWith(view).flags)) {
    return [
      {
        code: 'unknown-descriptor',
        path,
        message:
          'It has a fanotify open by which it grants access to files, which cannot be saved: who opens one waits for the program.',
        remedy: 'Save it when the program has closed it.',
      },
    ];
  }
  const unknown = marksOf(view).filter((mark) => pathOf(mark, view.pid) === undefined);
  return [
    ...heldOutside(view, 'a fanotify'),
    ...unknown.map(
      ({ text }): Problem => ({
        code: 'unknown-watch',
        path,
        message: `What ${text} is has no name any more, or may not be looked for.`,
        remedy: 'Save it as root, or when the program has removed the mark.',
      }),
    ),
  ];
}

/** FANOTIFY_UNPRIV of include/linux/fanotify.h: of a group whose maker had no CAP_SYS_ADMIN. */
const UNPRIVILEGED = 0x8000_0000;

function tryAskPrivileged(own: LocalFd): boolean | undefined {
  const kernel = KernelObjects.tryOpen();
  if (kernel === undefined) return undefined;
  try {
    const group = kernel.struct('fsnotify_group', kernel.fileOf(own).u64('private_data'));
    return (group.u32('fanotify_data.flags') & UNPRIVILEGED) === 0;
  } catch (error) {
    if (error instanceof UnknownKernelObject) return undefined;
    throw error;
  }
}

/** What fanotify_init(2) and fanotify_mark(2) refuse to others: anything but files that are told by their handles. */
const REPORTS_HANDLES = FAN.FAN_REPORT_FID | FAN.FAN_REPORT_DIR_FID;
const FOR_ALL = FAN.FAN_CLOEXEC | FAN.FAN_NONBLOCK | REPORTS_HANDLES | FAN.FAN_REPORT_NAME | FAN.FAN_REPORT_TARGET_FID;
const needsPrivileges = (flags: number, marks: readonly State[]): boolean =>
  (flags & ~FOR_ALL) !== 0 || (flags & REPORTS_HANDLES) === 0 || marks.some(({ on }) => on !== 'file');

const isAdministrator = ({ status }: HostView): boolean =>
  ((status.capEffective >> BigInt(CAP.CAP_SYS_ADMIN)) & 1n) === 1n;

const notAdministrator = (path: readonly string[]): Problem => ({
  code: 'not-enough-rights',
  path,
  message: 'Its fanotify was made with CAP_SYS_ADMIN, which this command does not have.',
  remedy: 'Run the restart as root.',
});

function missingMarks(marks: readonly State[], { ownPid }: HostView, path: readonly string[]): Problem[] {
  const points = new Set(readMountinfo(ownPid).map(({ mountPoint }) => mountPoint));
  const isThere = ({ on, path: marked }: State): boolean =>
    on === 'file'
      ? tryStat(marked) !== undefined || lstatSync(marked, { throwIfNoEntry: false }) !== undefined
      : on === 'mount namespace' || points.has(marked);
  return marks
    .filter((mark) => !isThere(mark))
    .map(({ on, path: marked }) => ({
      code: 'missing-file',
      path,
      message: `Its fanotify marks the ${on} at ${marked}, and there is none here.`,
      remedy: 'Put it back as it was when the image was made.',
    }));
}

const KIND_FLAGS = {
  file: FAN.FAN_MARK_INODE,
  mount: FAN.FAN_MARK_MOUNT,
  'file system': FAN.FAN_MARK_FILESYSTEM,
  'mount namespace': FAN.FAN_MARK_MNTNS,
} as const;

/** What it hears of, and what it ignores, are two calls. */
function setMark(own: LocalFd, { on, path, flags, mask, ignored }: State): void {
  const kind = KIND_FLAGS[on] | (flags & FAN.FAN_MARK_EVICTABLE) | (on === 'file' ? FAN.FAN_MARK_DONT_FOLLOW : 0);
  if (mask !== 0) addMark(own, kind, mask, path);
  if (ignored === 0) return;
  const way = (flags & FAN.FAN_MARK_IGNORE) === 0 ? FAN.FAN_MARK_IGNORED_MASK : FAN.FAN_MARK_IGNORE;
  addMark(own, kind | way | (flags & FAN.FAN_MARK_IGNORED_SURV_MODIFY), ignored, path);
}
