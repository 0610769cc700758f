/** What can be wrong with an image or a key. */
import type { ErrorPages } from './error-page.ts';

export const imageErrors = {
  'bad-key': {
    means: 'A key file cannot be opened, or is none that can be used so.',
    remedy: 'Make one with quicksave keygen, and give that.',
  },
  'bad-record': {
    means: 'A record of the image says what no quicksave writes, or what does not fit its other records.',
    remedy: 'Save the program again, or use another copy of the image.',
  },
  'bad-register': {
    means: 'The image has register values that no program can have.',
    remedy: 'Save the program again, or use another copy of the image.',
  },
  'bad-signature': {
    means: 'The image has been changed after it was signed.',
    remedy: 'Use an image that the owner of the key has signed.',
  },
  'checkpoint-failed': {
    means: 'The save that wrote this image failed; the image says why.',
    remedy: 'Mend what it says, and save the program again.',
  },
  'cut-image': {
    means:
      'The image ends too early: it was cut, or is still being written. quicksave inspect shows what there is of it.',
    remedy: 'Save the program again, or use another copy of the image.',
  },
  'damaged-image': {
    means: 'Bytes of the image are not those that were written.',
    remedy: 'Save the program again, or use another copy of the image.',
  },
  'foreign-image': {
    means: 'The image is of another format, which this command does not take.',
    remedy: 'Use a command that takes it: restart, inspect, verify.',
  },
  'incremental-image': {
    means: 'The image has only what changed since another one, which was not found or not looked for.',
    remedy: 'Say where that is with --images FOLDER, or make a whole image: quicksave merge.',
  },
  'missing-parent': {
    means: 'The image that this one builds on is not where it was looked for.',
    remedy: 'Say where it is: --images FOLDER.',
  },
  'newer-format': {
    means: 'The image is of a newer format than this quicksave reads.',
    remedy: 'Use a newer quicksave.',
  },
  'no-key': {
    means: 'The image is encrypted, and no key is given.',
    remedy: 'Give its key: --key KEYFILE, or QUICKSAVE_KEY_FILE in the environment.',
  },
  'no-place-in-format': {
    means: 'The program has something that the format of the export has no place for.',
    remedy: 'Keep the image as it is; only quicksave restarts it.',
  },
  'no-huge-pages': {
    means: 'The program has memory of huge pages (MAP_HUGETLB), and the host has not enough of that size left.',
    remedy: 'Raise nr_hugepages of that size in /sys/kernel/mm/hugepages, which can be done while the host runs.',
  },
  'no-aio': {
    means: 'The program has set asynchronous I/O up (io_setup), which cannot be set up so on this host.',
    remedy: 'Raise fs.aio-max-nr, or restart it on a host with as many processors as that on which it was saved.',
  },
  'no-io-uring': {
    means: 'The program has an io_uring, which cannot be made again on this kernel.',
    remedy: 'Set kernel.io_uring_disabled to 0, or restart it on the kernel on which it was saved.',
  },
  'no-such-memory': {
    means: 'The process in the image has no memory there, or memory of a kind that this kernel does not know.',
    remedy: 'See quicksave inspect --maps; for a restart use a newer kernel.',
  },
  'not-an-image': {
    means: 'The file is not an image of quicksave.',
    remedy: 'Give a file that quicksave checkpoint has written.',
  },
  'not-lazy': {
    means:
      'The pages of the image cannot come later, when the program runs: it comes from a pipe, or must be read whole first.',
    remedy: 'Restart it without --lazy, or from a plain image in a file.',
  },
  'not-signed': {
    means: 'A signature was asked for, and the image has none.',
    remedy: 'Use an image that the owner of the key has signed.',
  },
  'not-yours': {
    means: 'The image belongs to another user, who would decide what runs in your name.',
    remedy: 'If you trust that user: --trust.',
  },
  'unknown-record': {
    means: 'The image has a record that this quicksave does not know and may not skip.',
    remedy: 'Use the quicksave that made the image, or a newer one.',
  },
  'wrong-key': {
    means: 'The image is encrypted, and not for the key that is given.',
    remedy: 'Give its key: --key KEYFILE, or QUICKSAVE_KEY_FILE in the environment.',
  },
  'wrong-parent': {
    means: 'The image given as a parent is not one of this process, or lacks what is needed of it.',
    remedy: 'Give an earlier image of the same process.',
  },
  'wrong-signer': {
    means: 'The image is signed with another key.',
    remedy: 'Use an image that the owner of the key has signed.',
  },
} as const satisfies ErrorPages;
