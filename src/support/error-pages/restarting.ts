/** What stands in the way of a restart. */
import type { ErrorPages } from './error-page.ts';

export const restartErrors = {
  'cannot-bind': {
    means: 'A socket cannot be bound as it was.',
    remedy: 'Look at the reason in the sentence, and restart again.',
  },
  'cgroup-full': {
    means: 'A cgroup that the program was in, or one above it, has no room for so many processes and threads.',
    remedy: 'Raise pids.max of that group, or restart with --no-cgroups.',
  },
  'changed-file': {
    means: 'A file that the program had open or mapped has changed since.',
    remedy: 'Put the old file back, or restart with --files accept-changed if the change does no harm.',
  },
  'fifo-in-use': {
    means: 'Another program has a FIFO of the program open.',
    remedy: 'End that program, and restart again.',
  },
  'io-flusher': {
    means: 'A thread is an I/O flusher, which needs CAP_SYS_RESOURCE.',
    remedy: 'Run the restart with CAP_SYS_RESOURCE.',
  },
  'lazy-restart-failed': {
    means: 'The program ran already, and was ended, because the rest of its memory could not be loaded.',
    remedy: 'Restart it from another copy of the image; a copy that is whole is checked by quicksave verify.',
  },
  'limit-too-high': {
    means: 'A hard limit of the program is above that of the restart.',
    remedy: 'Raise the limit of the shell that runs the restart, or run it with CAP_SYS_RESOURCE.',
  },
  'may-not-open': {
    means:
      'A file or folder that the program had open, mapped, or as its working directory may not be opened by who runs the restart. An image gives nobody more than the caller has.',
    remedy: 'Run the restart as a user who may open it, or as root, or change who may: chmod, chown.',
  },
  'missing-address': {
    means: 'A socket is bound to an address that this host does not have.',
    remedy: 'Add the address to an interface first: ip address add',
  },
  'missing-cpu-feature': {
    means: 'The processor lacks something that the program uses or may have chosen to use.',
    remedy: 'Restart it on a host whose processor has it.',
  },
  'missing-device': {
    means: 'A device that the program had open does not exist here.',
    remedy: 'Make the device, or mount the file system that has it.',
  },
  'missing-directory': {
    means: 'A directory that the program needs does not exist here.',
    remedy: 'Make it: mkdir -p FOLDER',
  },
  'missing-external': {
    means: 'A socket was connected to one outside of what was saved (--external), and there is none of that name here.',
    remedy: 'Start the program that has it first.',
  },
  'missing-interface': {
    means: 'A socket is bound to a network interface, or in a multicast group on one, that this host does not have.',
    remedy: 'Make an interface of that name first: ip link add',
  },
  'missing-file': {
    means: 'A file that the program had open or mapped does not exist here.',
    remedy: 'Put the file back as it was when the image was made.',
  },
  'name-taken': {
    means: 'Something else has the name that a file or a FIFO of the program must have for a moment.',
    remedy: 'Move that away, and restart again.',
  },
  'no-32-bit-programs': {
    means: 'The program is of 32 bits, and this kernel runs none.',
    remedy: 'Restart it on a kernel with CONFIG_IA32_EMULATION, not switched off by ia32_emulation=0.',
  },
  'no-seccomp-suspension': {
    means: 'A thread had seccomp filters, which this user may not give to it again.',
    remedy: 'Run the restart as root, outside of any sandbox or container.',
  },
  'no-cgroup': {
    means: 'The program cannot be put into a cgroup that it was in, and --cgroups asks for it.',
    remedy: 'Restart it without --cgroups: it is put into those that can be joined. With --no-cgroups into none.',
  },
  'no-clocks': {
    means: 'Clocks shall go on where they stood, and the image does not say where that was.',
    remedy: 'Restart it without --clock continue, or save the program anew.',
  },
  'no-cpu-left': {
    means: 'None of the CPUs that a thread was bound to may be used here.',
    remedy: 'Restart it on a host, or in a cpuset, with at least one of those CPUs.',
  },
  'no-lazy-restart': {
    means: 'The kernel does not let pages come when they are touched (userfaultfd), or does not let the restart do it.',
    remedy: 'Restart it as root on Linux 6.7 or later, or without --lazy.',
  },
  'no-memory-names': {
    means: 'The program has named memory, and this kernel has no names for memory.',
    remedy: 'Restart it on a kernel with CONFIG_ANON_VMA_NAME.',
  },
  'no-memory-node': {
    means: 'None of the memory nodes that the program was bound to may be used here.',
    remedy: 'Restart it on a host, or in a cpuset, with at least one of those nodes.',
  },
  'no-new-privs': {
    means: 'The restart runs with no_new_privs, which the program did not have.',
    remedy: 'Run the restart from a shell without it.',
  },
  'no-segment-ids': {
    means: 'This kernel does not let the ids of System V segments, semaphores and message queues be chosen.',
    remedy: 'Restart it on a kernel with CONFIG_SYSVIPC and CONFIG_CHECKPOINT_RESTORE.',
  },
  'no-time-namespace': {
    means: 'The clocks of the program can only go on in a time namespace, which you may not make.',
    remedy: 'Run the restart as root, or with --clock host.',
  },
  'no-timer-numbers': {
    means: 'This kernel does not let the numbers of timers be chosen.',
    remedy: 'Restart it on Linux 6.15 or newer.',
  },
  'oom-score-too-low': {
    means: 'The program was protected from the out-of-memory killer more than the restart is.',
    remedy: 'Run the restart from a process with the same oom_score_adj, or with CAP_SYS_RESOURCE.',
  },
  'other-credentials': {
    means: 'The program ran as another user than the restart does.',
    remedy: 'Run the restart with the credentials that the program had, or as root.',
  },
  'other-machine': {
    means: 'The image is of another kind of machine.',
    remedy: 'Restart it on a host of that kind.',
  },
  'other-vdso': {
    means: 'The vDSO of this kernel is another one, and calls of the program into the old one cannot be led there.',
    remedy: 'Restart it on a host with the same kernel.',
  },
  'pid-in-use': {
    means: 'A process id, or the number of a group or session, is taken on this host.',
    remedy: 'End the process that has it, or restart on another host.',
  },
  'pipe-capacity': {
    means: 'A pipe is larger than pipes may be here.',
    remedy: 'Raise the limit: sysctl fs.pipe-max-size=BYTES',
  },
  'port-taken': {
    means: 'Another program has the port of a socket.',
    remedy: 'End the other program first.',
  },
  'queue-capacity': {
    means: 'A System V message queue may hold more than queues may here.',
    remedy: 'Raise the limit: sysctl kernel.msgmnb=BYTES',
  },
  'segment-taken': {
    means: 'Another System V segment, semaphore set or message queue has the key or the place of one of the program.',
    remedy: 'When nobody needs that one any more, remove it: ipcrm -m ID, -s ID or -q ID',
  },
  'socket-name-taken': {
    means: 'Another program has the name of a UNIX socket, or a file is in its place.',
    remedy: 'End the program that has it, or remove the file.',
  },
  'terminal-taken': {
    means: 'Another program has the number of a pseudo-terminal.',
    remedy: 'End that program, or close its window, and restart again.',
  },
  'too-many-descriptors': {
    means: 'The image has more open files than the restart may have.',
    remedy: 'Raise the limit: ulimit -n',
  },
  'unwatchable-stream': {
    means: 'An epoll watches a standard stream that is now a file or device that cannot be watched.',
    remedy: 'Give the restart a terminal or a pipe as its standard streams.',
  },
  'watch-number': {
    means: 'A watch of inotify did not get its number again.',
    remedy: 'Try again; if it stays so, report it.',
  },
} as const satisfies ErrorPages;
