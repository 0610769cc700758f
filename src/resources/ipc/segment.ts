/**
 * A System V shared memory segment that processes of the tree have attached: shmget(2). Read from /proc/sysvipc/shm and through the link of
 * a mapping in map_files; made again with its id (shm_next_id, proc_sys_kernel(5)), by the process that had made it, as the user who had.
 * Processes attach it themselves (memory/segment-mapping.ts). One that has been removed is removed again when all have it.
 *
 * A segment outlives its processes. If it is still there at the restart, unchanged and with nobody attached, it gets the saved bytes back;
 * any other with its id or key is in the way. Lost: SHM_NORESERVE, the times, who attached or detached it last, and its maker if that is
 * not restarted.
 */
import * as v from 'valibot';
import { count, integerBetween } from '../../image/schema.ts';
import { ERRNO } from '../../kernel/abi/errno.ts';
import { OPEN } from '../../kernel/abi/fcntl.ts';
import { SHM } from '../../kernel/abi/shm.ts';
import { STAT } from '../../kernel/abi/stat.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import { openFile } from '../../kernel/calls/descriptors.ts';
import { emptyFile } from '../../kernel/calls/file-io.ts';
import {
  attachSegment,
  detachSegment,
  lockSegment,
  removeSegment,
  setSegmentOwner,
} from '../../kernel/calls/segments.ts';
import { check } from '../../kernel/errors.ts';
import type { OwnedFd } from '../../kernel/owned-fd.ts';
import { readMaps } from '../../procfs/smaps.ts';
import { chooseNextIpcId, readSegments, type Segment } from '../../procfs/sysvipc.ts';
import { asPid } from '../../support/brand.ts';
import { type Problem, QuicksaveError } from '../../support/errors.ts';
import { hasWholePages, hugePageField, hugePageKiB, hugeSizeFlag, pagesOfPool } from '../huge-page-size.ts';
import { mayFollowMappings, noMapFiles } from '../map-files.ts';
import { mapLink } from '../mapped-file.ts';
import type { DescriptorKind, HostView, RebuiltProcess, RestoredDescriptors } from '../resource.ts';
import { isSegmentName, keyInName, showKey } from '../segment-names.ts';
import { asUser, ipcFields, placeOf, rightsProblems } from './ipc-object.ts';

const segmentPath = ({ id }: { id: number }): string[] => [`System V segment ${id}`];

const schema = v.pipe(
  v.strictObject({
    /** Its key is that it was made with: one that has been removed has none any more, but in its name. */
    ...ipcFields,
    sizeBytes: v.pipe(count, v.minValue(1)),
    creatorPid: integerBetween(0, 4_194_304),
    /** Seconds since 1970: by this it is known again. */
    changedAt: count,
    /** The same: whether somebody has attached it since. */
    attachedAt: count,
    removed: v.boolean(),
    locked: v.boolean(),
    hugePageKiB,
  }),
  v.check((state) => hasWholePages(state), 'must have whole huge pages'),
);
type SegmentState = v.InferOutput<typeof schema>;

export const segment: DescriptorKind<SegmentState> = {
  kind: 'system-v-segment',
  schema,
  recognise: ({ fd, descriptor, stat }) =>
    fd < 0 && descriptor.deleted && isSegmentName(descriptor.name) && (stat.mode & STAT.S_IFMT) === STAT.S_IFREG,
  collect: ({ descriptor, stat, own }) => {
    const { attachments: _, ...found } = segmentOf(Number(stat.inode));
    return { ...found, key: keyInName(descriptor.name), ...hugePageField(`/proc/self/fd/${own}`) };
  },
  contentBytes: ({ sizeBytes }) => sizeBytes,
  hugePages: ({ hugePageKiB: size, sizeBytes }) => pagesOfPool(size, sizeBytes),
  segment: ({ id, sizeBytes }) => ({ id, sizeBytes }),
  plan: (state, host) =>
    host.programRuns
      ? []
      : [
          ...outOfReach(state),
          ...rightsProblems('shm', segmentPath(state), state, host),
          ...placeProblems(state, host),
        ],
  restore: (state, world) => openFile(`/proc/self/fd/${memoryOf(state, world).number}`, OPEN.O_RDWR),
  contentTarget: memoryOf,
  settle,
  remark: (state, _fd, host) => (host === undefined ? undefined : remarkOnRestart(state, readSegments())),
};

function remarkOnRestart(state: SegmentState, segments: readonly Segment[]): string | undefined {
  const { id, key, removed } = state;
  if (removed && keyIsTaken(state, segments)) {
    return `the System V segment ${id}, which had been removed, shows no key: ${showKey(key)} is another one's now`;
  }
  const left = segments.find((one) => one.id === id);
  if (left === undefined || left.attachedAt === state.attachedAt) return undefined;
  return `the System V segment ${id} has been attached since the save: its bytes are those of the image again`;
}

function segmentOf(id: number): Segment {
  const found = readSegments().find((one) => one.id === id);
  if (found !== undefined) return found;
  throw new QuicksaveError('unknown-segment', `There is no System V segment ${id} in this IPC namespace.`);
}

// -------------------------------------------------------------------------------------------------------- planning

const outOfReach = (state: SegmentState): Problem[] =>
  mayFollowMappings() ? [] : [noMapFiles(segmentPath(state), 'It is a System V segment with content', 'fill')];

function placeProblems(state: SegmentState, { acceptChangedFiles }: HostView): Problem[] {
  const { id, key } = state;
  const path = segmentPath(state);
  const segments = readSegments();
  const there = segments.find((one) => one.id === id);
  if (there !== undefined) {
    const why = whyNotTaken(state, there, acceptChangedFiles);
    return why === undefined ? [] : [{ code: 'segment-taken', path, ...why }];
  }
  const other = segments.find((one) => placeOf(one.id) === placeOf(id));
  if (other !== undefined) {
    return [
      {
        code: 'segment-taken',
        path,
        message: `Its place in the kernel's table is that of segment ${other.id}, of uid ${other.owner.uid}.`,
        remedy: `When nobody needs that one any more: ipcrm -m ${other.id}`,
      },
    ];
  }
  if (state.removed || !keyIsTaken(state, segments)) return [];
  return [
    {
      code: 'segment-taken',
      path,
      message: `Its key ${showKey(key)} is that of another segment.`,
      remedy: `When nobody needs that one any more: ipcrm -M ${showKey(key)}`,
    },
  ];
}

const keyIsTaken = ({ key }: SegmentState, segments: readonly Segment[]): boolean =>
  key !== SHM.IPC_PRIVATE && segments.some((one) => one.key === key);

/** Undefined if it is the saved one, left behind: then it is used. */
function whyNotTaken(
  state: SegmentState,
  there: Segment,
  acceptChanged: boolean,
): { message: string; remedy: string } | undefined {
  const remedy = `When nobody needs it any more: ipcrm -m ${state.id}`;
  if (there.attachments > 0) {
    return {
      message: `It is there, attached ${there.attachments} times.`,
      remedy: 'End the processes that have it attached.',
    };
  }
  const isAlike =
    !state.removed &&
    there.key === state.key &&
    there.sizeBytes === state.sizeBytes &&
    there.creator.uid === state.creator.uid &&
    there.creator.gid === state.creator.gid;
  if (!isAlike) return { message: 'Another segment has its id.', remedy };
  const isSame = there.changedAt === state.changedAt && there.creatorPid === state.creatorPid;
  if (isSame || acceptChanged) return undefined;
  return {
    message:
      'A segment with its id, key, size and maker is there that was made, or given another owner or mode, at another time.',
    remedy: `${remedy}. Or have its bytes replaced by those of the image: --files accept-changed.`,
  };
}

// -------------------------------------------------------------------------------------------------------- restoring

function memoryOf(state: SegmentState, world: RestoredDescriptors): OwnedFd {
  return world.shared(`segment ${state.id}`, () => ({ file: takeOrMake(state, world) })).file;
}

/** The plan has seen to it that what is there may be used; nobody may have attached it since. */
function takeOrMake(state: SegmentState, world: RestoredDescriptors): OwnedFd {
  const there = readSegments().find(({ id }) => id === state.id);
  if (there === undefined) {
    make(state, world);
    return openSegment(state);
  }
  if (whyNotTaken(state, there, true) !== undefined) throw taken(state.id);
  const file = openSegment(state);
  emptyFile(file.number, state.sizeBytes);
  return file;
}

const taken = (id: number): QuicksaveError =>
  new QuicksaveError('segment-taken', `The System V segment ${id} has been taken by somebody else meanwhile.`);

/** Only its owner may use it until it is complete. */
const FIRST_MODE = 0o600;

function make(state: SegmentState, world: RestoredDescriptors): void {
  const process = world.process(state.creatorPid) ?? world.root();
  // Before it is made: what fails next may be the reading of the answer.
  world.onFailure(() => removeIfMadeBy(process.pid, state.id));
  const withKey = askFor(state, state.key, process);
  const id = withKey === -ERRNO.EEXIST && state.removed ? askFor(state, SHM.IPC_PRIVATE, process) : withKey;
  check('shmget', id, { doing: `make the System V segment ${state.id}`, pid: process.pid });
  if (id !== state.id) {
    removeSegment(id);
    throw taken(state.id);
  }
}

function removeIfMadeBy(pid: number, id: number): void {
  if (readSegments().some((one) => one.id === id && one.creatorPid === pid)) removeSegment(id);
}

/** The id, or a negative errno. */
function askFor(state: SegmentState, key: number, process: RebuiltProcess): number {
  const { id, sizeBytes, creator, hugePageKiB: size } = state;
  const pages = size === undefined ? 0 : SHM.SHM_HUGETLB | hugeSizeFlag(size);
  chooseNextIpcId('shm', id);
  return asUser(process, creator, ({ batch }) =>
    batch.tryCall(
      'make a System V segment',
      SYS.shmget,
      key,
      sizeBytes,
      SHM.IPC_CREAT | SHM.IPC_EXCL | FIRST_MODE | pages,
    ),
  ).result;
}

/** Its file, by our own mapping of it: the file stays the segment's when that is gone, and is no attachment. */
function openSegment({ id }: SegmentState): OwnedFd {
  const address = attachSegment(id);
  try {
    const mapping = readMaps(asPid(process.pid)).find(({ start }) => Number(start) === Number(address));
    if (mapping === undefined) throw new Error('an attached segment is mapped');
    return openFile(mapLink(process.pid, mapping), OPEN.O_RDWR);
  } finally {
    detachSegment(address);
  }
}

/** All have it attached, and its bytes are in. To set the owner changes by what it is known again: not without need. */
function settle(state: SegmentState): void {
  const { id, owner, mode, locked, removed } = state;
  const now = segmentOf(id);
  if (now.mode !== mode || now.owner.uid !== owner.uid || now.owner.gid !== owner.gid) setSegmentOwner(id, owner, mode);
  if (now.locked !== locked) lockSegment(id, locked);
  if (removed) removeSegment(id);
}
