/** What cannot be saved. */
import type { ErrorPages } from './error-page.ts';

export const processErrors = {
  aio: {
    means: 'The program uses asynchronous I/O of the kernel (io_setup) whose state cannot be seen.',
    remedy:
      'Save it with CAP_BPF and CAP_PERFMON, on a kernel with CONFIG_DEBUG_INFO_BTF, or switch it off in the program.',
  },
  'address-tags': {
    means: 'The process has switched on tags in its addresses (ARCH_ENABLE_TAGGED_ADDR).',
    remedy: 'Start it without linear address masking.',
  },
  'deleted-directory': {
    means: 'The working directory of the process has been deleted.',
    remedy: 'Have the program change to a directory that exists.',
  },
  'deleted-executable': {
    means: 'The program file of the process has been deleted or replaced.',
    remedy: 'Put the same file back under its name, or start the program from the new one.',
  },
  'io-permissions': {
    means: 'A thread may use I/O ports (ioperm(2), iopl(2)).',
    remedy: 'Save it when the program has given that up.',
  },
  'long-message': {
    means: 'A message waits in a System V message queue that is longer than a restart could send again.',
    remedy: 'Save the program when that message has been received.',
  },
  'no-foothold': {
    means: 'The vDSO of the process has no room for the code that quicksave puts there, or is not as expected.',
    remedy: 'If another tool has patched it, end that tool; otherwise report it with the output of uname -r.',
  },
  'no-vdso': {
    means: 'The process has no vDSO, through which quicksave makes its first call in it.',
    remedy: 'Boot the kernel without vdso=0, and start the program again.',
  },
  landlock: {
    means: 'A thread has a sandbox of Landlock, which a restarted program would not have.',
    remedy: 'Start it without a sandbox, or save the processes of it that have none.',
  },
  'odd-adjustments': {
    means:
      'What is undone to System V semaphores when a process ends (SEM_UNDO) is shared in a way that cannot be brought back.',
    remedy: 'Save it when nothing of that is to be undone any more.',
  },
  'odd-group': {
    means: 'A process is in a process group that only somebody outside of the image could make.',
    remedy: 'Save the process above it too, or end that process first.',
  },
  'odd-register': {
    means: 'A register of a thread has a value that could not be set again.',
    remedy: 'Try again a moment later; if it stays so, report it.',
  },
  'odd-session': {
    means: 'The session of a process is one that it could not have got from its parent.',
    remedy: 'Save the process above it too, or end that process first.',
  },
  'odd-sharing': {
    means:
      'Processes share memory, a descriptor table, or working directory and umask, with relatives from whom they could not have got it.',
    remedy: 'Save them when one of them has ended or executed another program.',
  },
  'odd-thread': {
    means:
      'A thread has something of its own that threads of a process share otherwise, such as credentials or a namespace.',
    remedy: 'Save it when that thread has ended.',
  },
  'protection-key': {
    means: 'The kernel does not give a protection key that the process had (pkeys(7)).',
    remedy: 'Restart it on a host whose processor has protection keys.',
  },
  seccomp: {
    means:
      'A thread runs under seccomp in a way that cannot be saved: in strict mode, with a filter that hands calls to a supervisor, or with one that forbids what a save has to do in it; or you may not read its filters.',
    remedy: 'Save it as root; if the filter is what is in the way, start the program without its sandbox.',
  },
  'shadow-stack': {
    means: 'The process has shadow stacks.',
    remedy: 'Start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off.',
  },
  'shared-with-another': {
    means: 'The process shares memory, descriptors or its working directory with a process that is not saved.',
    remedy: 'Save it when the other process has ended, or save a process that is above both.',
  },
  'traces-another': {
    means: 'The process traces another one, as a debugger does.',
    remedy: 'Save it when it has let that process go.',
  },
  'user-dispatch': {
    means: 'A thread has its system calls dispatched to itself (PR_SET_SYSCALL_USER_DISPATCH), as Wine does.',
    remedy: 'Save it when the program has switched that off.',
  },
} as const satisfies ErrorPages;

export const memoryErrors = {
  'device-memory': {
    means: 'The process has mapped memory of a device.',
    remedy: 'Have the program release the device first.',
  },
  'kernel-memory': {
    means: 'The process has a file open or mapped that belongs to a part of the kernel, and to no file system.',
    remedy: 'Save it when the program has closed or unmapped it.',
  },
  'mapping-flag': {
    means: 'A mapping has a property that is not supported.',
    remedy: 'Save it when the program has unmapped that memory.',
  },
  'odd-segment': {
    means: 'A System V segment is mapped that is not of this IPC namespace, or was not attached with shmat(2).',
    remedy: 'Save it when the program has unmapped that memory.',
  },
  'replaced-file': {
    means: 'A mapped file has been replaced by another one of the same name.',
    remedy: 'Put the old file back under its name, or start the program again so that it uses the new one.',
  },
  'shared-memory': {
    means: 'The process has shared memory that cannot be made again.',
    remedy: 'Save it when the program has unmapped that memory.',
  },
  'snapshot-ended': {
    means: 'The snapshot of the process was killed before all of it was in the image; the process itself goes on.',
    remedy: 'Save it again. If memory is short, end the process with the save: --kill.',
  },
  'unknown-mapping': {
    means: 'The process has memory of a kind that is not supported.',
    remedy: 'Save it when the program has unmapped that memory.',
  },
  'unknown-segment': {
    means: 'A System V segment is not in this IPC namespace.',
    remedy: 'Run quicksave in the IPC namespace of the program.',
  },
  'waits-in-vfork': {
    means:
      'A thread waits in vfork(2) for a child that has its memory, and not only for a moment. No stop reaches it before that child executes a program or ends.',
    remedy: 'Save it when the child has done so.',
  },
} as const satisfies ErrorPages;
