/** Errors of the command and the host, of the choice of a process, and of jobs. */
import type { ErrorPages } from './error-page.ts';

export const useErrors = {
  'agent-ended': {
    means:
      'The code that quicksave runs in a process for a moment does not answer any more, because the process was killed or has crashed.',
    remedy: 'Look whether somebody killed the process, and try again.',
  },
  'agent-fault': {
    means:
      'The code that quicksave runs in a process for a moment got a signal of its own. This is a fault of quicksave.',
    remedy: 'Report it: run the command again with --debug and send what that prints.',
  },
  'cannot-read': {
    means: 'A file that was named cannot be opened or read.',
    remedy: 'Look at its name and its permissions, and give a file that can be read.',
  },
  'cannot-write': {
    means: 'A file or a stream that was named cannot be written.',
    remedy: 'Give a name in a folder that exists, may be written, and has room.',
  },
  'descriptors-lost': {
    means: 'Not all descriptors that were sent to a new process arrived there.',
    remedy: 'Raise the limit of open files (ulimit -n), and try again.',
  },
  internal: {
    means: 'A fault in quicksave itself.',
    remedy: 'Report it: run the command again with --debug and send what that prints.',
  },
  interrupted: {
    means:
      'A signal, or the AbortSignal of the library, ended the command before it was done. Nothing was left behind, and a program that was being saved goes on.',
    remedy: 'Run the command again.',
  },
  'kernel-call': {
    means: 'The kernel refused a system call that it was expected to do. The sentence has the call and its errno.',
    remedy: 'See the errno in the manual page of the call; quicksave --debug shows the calls before it.',
  },
  'malformed-netlink': {
    means: 'The kernel lists sockets or tables in another form than is documented. It may be newer than quicksave.',
    remedy: 'Report it with the output of uname -r.',
  },
  'malformed-proc-file': {
    means: 'A file of /proc is not as it is documented. The kernel may be newer than quicksave.',
    remedy: 'Report it with the output of uname -r.',
  },
  'no-folder': {
    means: 'The folder of a file that was to be written does not exist.',
    remedy: 'Make the folder first: mkdir -p FOLDER',
  },
  'no-proc-file': {
    means: 'A file of /proc that is needed is not there.',
    remedy: 'Mount /proc, and see with quicksave check what this kernel has.',
  },
  'no-room': {
    means:
      'The host, or the process, has too little of something left: memory, descriptors, process ids, address space.',
    remedy: 'Free some of it, or raise the limit that the sentence names, and try again.',
  },
  'not-a-file': {
    means:
      'A pipe, or an address on another host, was given where a file is needed, because things have to be looked up in it.',
    remedy: 'Write it into a file first, and give that.',
  },
  'not-enough-rights': {
    means: 'Something needs a capability that quicksave does not have here; the sentence names it.',
    remedy: 'Run quicksave as root, or with that capability.',
  },
  'not-permitted': {
    means: 'The kernel does not let this user look at or trace the process.',
    remedy: 'Run quicksave as root, or as the user who runs the program.',
  },
  'old-kernel': {
    means: 'This kernel lacks something that cannot be done without.',
    remedy: 'Use a newer kernel; quicksave check says what this one has.',
  },
  'proc-unreadable': {
    means: 'A file of /proc could not be read.',
    remedy: 'Try again; if it stays so, run quicksave as root.',
  },
  'wrong-usage': {
    means: 'An argument or option is not one that the command takes. Exit status 2.',
    remedy: 'See quicksave COMMAND --help.',
  },
} as const satisfies ErrorPages;

export const chooseErrors = {
  'already-traced': {
    means: 'Another program traces the process, such as a debugger or another save, and Linux lets only one do so.',
    remedy: 'End the debugger or the other save first.',
  },
  'dead-process': {
    means: 'The process has ended, and its parent has not waited for it yet.',
    remedy: 'Give a process that still runs.',
  },
  'frozen-cgroup': {
    means:
      'The process is in a cgroup that somebody has frozen (cgroup.freeze, or the freezer of version 1): nothing can be asked of it.',
    remedy: 'Thaw the cgroup first.',
  },
  'does-not-stop': {
    means: 'A thread waits inside the kernel, where no signal reaches it.',
    remedy: 'Try again when that wait is over.',
  },
  'kernel-thread': {
    means: 'The number is that of a thread of the kernel, which is no program.',
    remedy: 'Give the number of a program.',
  },
  'leader-ended': {
    means: 'The first thread of the process has ended while others go on, which are stopped by a signal.',
    remedy: 'Continue it first.',
  },
  'no-parent': {
    means: 'With --self there is no process above quicksave that could be saved.',
    remedy: 'Run it from the program that is to be saved, which waits for its end.',
  },
  'no-such-process': {
    means: 'There is no process of that number, on this host or in the image.',
    remedy: 'Look for its number: ps on this host, quicksave inspect in an image.',
  },
  'no-such-task': {
    means: 'The process has no thread of that number any more.',
    remedy: 'Try again.',
  },
  'not-a-process': {
    means: 'The number is that of a thread, not of a process.',
    remedy: 'Give the number of its process.',
  },
  'nothing-to-track': {
    means: '--track was given together with --kill.',
    remedy: 'Give either of the two.',
  },
  'other-namespace': {
    means: 'The process is in another namespace than quicksave.',
    remedy:
      'Run quicksave inside its namespaces, with its pid there: nsenter --pid --mount --user --preserve-credentials --target PID',
  },
  'other-root': {
    means: 'The process has another root directory than quicksave.',
    remedy: 'Run quicksave inside the same root: chroot FOLDER',
  },
  'own-ancestor': {
    means: 'The process waits for this very command, which it would do for ever after a restart.',
    remedy: 'Run quicksave from another terminal, or let the process save itself: quicksave checkpoint --self',
  },
  'own-process': {
    means: 'quicksave was told to save itself.',
    remedy: 'Give the number of another process.',
  },
  refused: {
    means:
      'Something stands in the way of the save or the restart, and nothing was changed. The problems that follow say what, each with a code of its own.',
    remedy: 'Do what is said for each problem, and try again.',
  },
  released: {
    means: 'A tree that the library made stand still goes on already.',
    remedy: 'Freeze it again.',
  },
  'target-ended': {
    means: 'The process ended while it was being looked at, saved or made.',
    remedy: 'Look why it ended, and try again.',
  },
} as const satisfies ErrorPages;

export const jobErrors = {
  'bad-job-folder': {
    means: 'A file in the folder of the job is not as quicksave run writes it.',
    remedy: 'Give another folder with --dir, or restart one of its saves by hand.',
  },
  'cannot-start': {
    means: 'The program of the job cannot be started.',
    remedy: 'Look at its name and its permissions.',
  },
  'job-runs': {
    means: 'Another quicksave run takes care of the job already.',
    remedy: 'See quicksave status FOLDER, or give another folder with --dir.',
  },
  'job-still-runs': {
    means: 'The program of the job still runs, and cannot be taken over.',
    remedy: 'End the program, and start again.',
  },
  'no-job': {
    means: 'There is no job in the folder.',
    remedy: 'Give the folder that quicksave run was given with --dir.',
  },
  'other-job': {
    means: 'The folder belongs to a job with another command.',
    remedy: 'Give another folder with --dir.',
  },
} as const satisfies ErrorPages;

export const remoteErrors = {
  'bad-address': {
    means: 'What was given begins as an address of an image on another host does, but is none.',
    remedy: 'Give s3://BUCKET/KEY or ssh://[USER@]HOST[:PORT]/PATH; a local file of such a name is ./NAME.',
  },
  'connection-lost': {
    means:
      'The connection to another host broke off while an image went over it. There is no new image there, no process was left by a restart, and a program that was being saved goes on.',
    remedy: 'Run the command again.',
  },
  'remote-denied': {
    means: 'The store or the host does not let you in, or does not let you have that object.',
    remedy:
      'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) to a key that may read and write there; for ssh, a key that the host knows.',
  },
  'remote-failed': {
    means: 'The store or the host could not do what it was asked to. The sentence has what it said.',
    remedy: 'Try again; if it stays so, ask whoever runs that store or host.',
  },
  'remote-missing': {
    means: 'There is no such bucket, object or file at the other end.',
    remedy: 'Look at the address: the names of buckets, objects and files are taken letter by letter.',
  },
  'remote-unreachable': {
    means: 'There is no connection to the store or the host.',
    remedy: 'Look whether it runs, and whether its name, port or AWS_ENDPOINT_URL is right.',
  },
} as const satisfies ErrorPages;
