/** What this host can and cannot do for checkpoint and restart: every line has been tried just now. */
import { existsSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { mayRepair } from '../kernel/calls/tcp-repair.ts';
import {
  probe,
  probeKcmp,
  probeMemoryMapFields,
  probeMemoryNames,
  probePagemapScan,
  probeSoftDirty,
  probeTidAddress,
  probeUnnamedFiles,
  probeWriteProtection,
} from '../kernel/features.ts';
import { listTables } from '../netlink/nf-tables.ts';
import { readMaps, readSmaps } from '../procfs/smaps.ts';
import { type ProcessStatus, readStatus } from '../procfs/status.ts';
import { mayChooseIpcIds } from '../procfs/sysvipc.ts';
import { childrenOf } from '../procfs/tasks.ts';
import { whyNoOwnNamespace } from '../resources/own-namespace.ts';
import { mayChoosePids } from '../resources/pid-choice.ts';
import { asPid } from '../support/brand.ts';
import { askChild } from './child-features.ts';
import { listHeldConnections } from './held-connections.ts';
import {
  AS_ROOT,
  answer,
  given,
  type HostFeature,
  type Need,
  newerKernel,
  no,
  type Question,
  withOption,
} from './host-feature.ts';
import { type CapabilityName, hasCapability } from './names.ts';

export interface HostCheck {
  readonly kernel: string;
  readonly canCheckpoint: boolean;
  readonly canRestart: boolean;
  readonly features: readonly HostFeature[];
  /** What saves have left here for their restarts: names of tables that hold connections silent. */
  readonly heldConnections: readonly string[];
}

/** `imageFolder` is where images are to be written. */
export function checkHost(imageFolder = process.cwd()): HostCheck {
  const features = process.arch === 'x64' ? askAll(imageFolder) : [answer(processor, no('it is another processor'))];
  const has = (need: Need): boolean =>
    features.every((feature) => feature.available || (feature.need !== 'both' && feature.need !== need));
  return {
    kernel: release(),
    canCheckpoint: has('checkpoint'),
    canRestart: has('restart'),
    features,
    heldConnections: listHeldConnections(),
  };
}

const processor: Question = {
  code: 'x86-64',
  name: 'x86-64 processor',
  need: 'both',
  purpose: 'the machine code that quicksave uses',
  remedy: 'Use a host with an x86-64 processor.',
};

function askAll(imageFolder: string): HostFeature[] {
  const status = readStatus(asPid(process.pid));
  return [
    answer(processor, { available: true }),
    ...askChild(),
    ...askOwnMemory(),
    ...askProcFiles(),
    ...askRestart(),
    ...askRights(status),
    ownNamespaces(status),
    ...askExtras(imageFolder, status),
  ];
}

function askOwnMemory(): HostFeature[] {
  return [
    answer(
      {
        code: 'pagemap-scan',
        name: 'find the pages in use (PAGEMAP_SCAN)',
        need: 'checkpoint',
        purpose: 'only memory that is in use is saved',
        remedy: newerKernel('6.7'),
      },
      probePagemapScan(),
    ),
    answer(
      {
        code: 'kcmp',
        name: 'compare open files (kcmp)',
        need: 'checkpoint',
        purpose: 'descriptors that share one open file',
        remedy: withOption('CONFIG_KCMP'),
      },
      probeKcmp(asPid(process.pid)),
    ),
    answer(
      {
        code: 'tid-address',
        name: 'read where a thread clears its tid (PR_GET_TID_ADDRESS)',
        need: 'checkpoint',
        purpose: 'threads that are waited for (pthread_join)',
        remedy: withOption('CONFIG_CHECKPOINT_RESTORE'),
      },
      probeTidAddress(),
    ),
  ];
}

function askProcFiles(): HostFeature[] {
  const pid = asPid(process.pid);
  return [
    answer(
      {
        code: 'map-files',
        name: 'follow mappings to their files (/proc/PID/map_files)',
        need: 'extra',
        purpose: 'to know that a mapped file is the one of that name, where maps does not tell',
        remedy: AS_ROOT,
      },
      probe(() => {
        const mapped = readMaps(pid).find((entry) => entry.path.startsWith('/') && !entry.deleted);
        if (mapped === undefined) return undefined;
        return statSync(`/proc/${pid}/map_files/${mapped.start.toString(16)}-${mapped.end.toString(16)}`);
      }),
    ),
    answer(
      {
        code: 'smaps',
        name: 'read what mappings are (/proc/PID/smaps)',
        need: 'checkpoint',
        purpose: 'mappings and their flags',
        remedy: withOption('CONFIG_PROC_PAGE_MONITOR'),
      },
      probe(() => readSmaps(pid)),
    ),
    answer(
      {
        code: 'proc-children',
        name: 'list children (/proc/PID/task/TID/children)',
        need: 'checkpoint',
        purpose: 'no child process is overlooked',
        remedy: withOption('CONFIG_PROC_CHILDREN'),
      },
      probe(() => childrenOf(pid)),
    ),
  ];
}

function askRestart(): HostFeature[] {
  return [
    answer(
      {
        code: 'memory-map-fields',
        name: 'set the fields of a memory map (PR_SET_MM_MAP)',
        need: 'restart',
        purpose: 'heap, arguments, environment and executable',
        remedy: withOption('CONFIG_CHECKPOINT_RESTORE'),
      },
      probeMemoryMapFields(),
    ),
    answer(
      {
        code: 'memory-names',
        name: 'name memory (PR_SET_VMA_ANON_NAME)',
        need: 'extra',
        purpose: 'programs that name their memory come back with the names',
        remedy: withOption('CONFIG_ANON_VMA_NAME'),
      },
      probeMemoryNames(),
    ),
  ];
}

interface Right {
  readonly capabilities: readonly CapabilityName[];
  readonly need: Need;
  readonly purpose: string;
}

const rights: readonly Right[] = [
  {
    capabilities: ['CHECKPOINT_RESTORE', 'SYS_ADMIN'],
    need: 'extra',
    purpose: 'pids, executables and mapped files, without namespaces of its own',
  },
  { capabilities: ['SYS_PTRACE'], need: 'extra', purpose: 'to save programs of other users' },
  { capabilities: ['SYS_RESOURCE'], need: 'extra', purpose: 'to restart programs with higher limits than our own' },
];

const askRights = (status: ProcessStatus): HostFeature[] =>
  rights.map(({ capabilities, need, purpose }) => {
    const names = capabilities.map((name) => `CAP_${name}`).join(' or ');
    const held = capabilities.some((name) => hasCapability(status.capEffective, name));
    const code = `cap-${capabilities[0]?.toLowerCase().replaceAll('_', '-')}`;
    const question = { code, name: names, need, purpose, remedy: `Run quicksave as root, or give it ${names}.` };
    return answer(question, given(held, 'this process does not have it'));
  });

/** Who may choose pids here needs none. */
function ownNamespaces(status: ProcessStatus): HostFeature {
  const why = mayChoosePids(status) ? undefined : whyNoOwnNamespace();
  return answer(
    {
      code: 'own-pids',
      name: 'processes with the pids that they had',
      need: 'restart',
      purpose: 'by CAP_CHECKPOINT_RESTORE, or in a user and a pid namespace of its own',
      remedy:
        'Run quicksave as root, or give it CAP_CHECKPOINT_RESTORE, or allow user namespaces (user.max_user_namespaces), with util-linux 2.36.',
    },
    given(why === undefined, why ?? ''),
  );
}

function askExtras(imageFolder: string, status: ProcessStatus): HostFeature[] {
  const maps = readMaps(asPid(process.pid));
  return [
    answer(
      {
        code: 'unnamed-files',
        name: `files without a name in ${imageFolder} (O_TMPFILE)`,
        need: 'extra',
        purpose: 'an image that is not complete leaves nothing behind',
        remedy: 'Write images to a file system that has it (ext4, xfs, btrfs, tmpfs).',
      },
      probeUnnamedFiles(imageFolder),
    ),
    answer(
      {
        code: 'tcp-connections',
        name: 'TCP connections (TCP_REPAIR, nf_tables)',
        need: 'extra',
        purpose: 'connections to others are kept',
        remedy:
          'Run quicksave as root, or give it CAP_NET_ADMIN, on a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET.',
      },
      probe(() => {
        listTables();
        return mayRepair() ? true : undefined;
      }),
    ),
    answer(
      {
        code: 'segment-ids',
        name: 'System V shared memory (shm_next_id)',
        need: 'extra',
        purpose: 'segments come back with their ids',
        remedy: withOption('CONFIG_SYSVIPC and CONFIG_CHECKPOINT_RESTORE'),
      },
      given(mayChooseIpcIds('shm'), 'there is no /proc/sys/kernel/shm_next_id'),
    ),
    answer(
      {
        code: 'async-write-protect',
        name: 'asynchronous write protection (userfaultfd WP_ASYNC)',
        need: 'extra',
        purpose: 'images of what changed, in a later version',
        remedy: newerKernel('6.7, with CONFIG_USERFAULTFD'),
      },
      probeWriteProtection(),
    ),
    answer(
      {
        code: 'soft-dirty',
        name: 'soft-dirty pages',
        need: 'extra',
        purpose: 'another way to images of what changed',
        remedy: withOption('CONFIG_MEM_SOFT_DIRTY'),
      },
      probeSoftDirty(),
    ),
    answer(
      {
        code: 'time-namespace',
        name: 'time namespaces',
        need: 'extra',
        purpose: 'clocks that go on where they stood: restart --clock continue',
        remedy: withOption('CONFIG_TIME_NS'),
      },
      given(existsSync('/proc/self/ns/time'), 'there is no /proc/self/ns/time'),
    ),
    answer(
      {
        code: 'vsyscall',
        name: 'the vsyscall page',
        need: 'extra',
        purpose: 'programs from before 2012',
        remedy: 'Boot the kernel with vsyscall=xonly.',
      },
      given(
        maps.some((entry) => entry.special === '[vsyscall]'),
        'this process has none',
      ),
    ),
    answer(
      {
        code: 'shadow-stacks',
        name: 'shadow stacks',
        need: 'extra',
        purpose: 'programs that use them run here',
        remedy: 'Use a processor that has them, and a kernel with CONFIG_X86_USER_SHADOW_STACK.',
      },
      given(status.x86ThreadFeatures !== undefined, 'the processor or the kernel has none'),
    ),
  ];
}
