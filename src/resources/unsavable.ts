/** What a descriptor that no kind takes is, and what can be done: for the sentence that refuses it. */
import { OPEN } from '../kernel/abi/fcntl.ts';
import { STAT } from '../kernel/abi/stat.ts';
import type { Problem } from '../support/errors.ts';
import type { DescriptorView } from './resource.ts';

interface Named {
  readonly what: string;
  readonly remedy?: string;
}

const WHEN_CLOSED = 'Save it when the program has closed it.';

/** By the text of the link: anon_inode(3) names of the kernel, in the order in which they are tried. */
const nameless: readonly (readonly [RegExp, Named])[] = [
  [/^userfaultfd$/, { what: 'a userfaultfd, by which it handles page faults itself' }],
  [/^bpf-map$/, { what: 'a BPF map', remedy: 'Detach the BPF program, or save another process of it.' }],
  [/^bpf-prog$/, { what: 'a BPF program', remedy: 'Detach the BPF program, or save another process of it.' }],
  [/^bpf[_-]link$/, { what: 'a BPF link', remedy: 'Detach the BPF program, or save another process of it.' }],
  [/^(bpf|btf)/, { what: 'a BPF object' }],
  [/^perf_event$/, { what: 'a performance counter (perf_event_open)', remedy: 'Stop perf or the profiler first.' }],
  [
    /^landlock-ruleset$/,
    { what: 'a Landlock ruleset', remedy: 'Save it when the program has enforced it and closed it.' },
  ],
  [/^seccomp notify$/, { what: 'the listener of a seccomp filter', remedy: 'End the supervised program first.' }],
  [/^kvm/, { what: 'a virtual machine (KVM)', remedy: 'Save it with the means of the virtual machine monitor.' }],
  [/^(fscontext|mount|mnt)/, { what: 'a mount that is being made' }],
  [/^(vfio|iommufd|\[?dma|sync_file|dmabuf)/, { what: "a device driver's object" }],
  [/^pidfd$/, { what: 'a pidfd' }],
];

const namespaces = /^(mnt|net|pid|user|uts|ipc|cgroup|time)(_for_children)?$/;

function nameOf({ descriptor, stat, info }: DescriptorView): Named {
  const { kind, name, target } = descriptor;
  if (kind === 'anon_inode') {
    const found = nameless.find(([pattern]) => pattern.test(name));
    return found?.[1] ?? { what: `an object of the kernel without a name (${name})` };
  }
  if ((info.flags & OPEN.O_PATH) !== 0) return { what: `${target} open by its path only (O_PATH)` };
  if (namespaces.test(kind)) return { what: `a namespace (${target})` };
  const type = stat.mode & STAT.S_IFMT;
  if (type === STAT.S_IFBLK) return { what: `the block device ${target}` };
  if (type === STAT.S_IFCHR) return { what: `the device ${target}, whose state its driver has` };
  return { what: target };
}

export function unsavable(view: DescriptorView): Problem {
  const { what, remedy = WHEN_CLOSED } = nameOf(view);
  return {
    code: 'unknown-descriptor',
    path: [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target],
    message: `It has ${what} open, which cannot be saved${view.descriptor.kind === 'socket' ? ' yet' : ''}.`,
    remedy,
  };
}
