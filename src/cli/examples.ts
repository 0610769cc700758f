/** Examples by command, for help and manual pages. */

export interface Example {
  readonly line: string;
  readonly does: string;
}

export const examples: Readonly<Record<string, readonly Example[]>> = {
  checkpoint: [
    { line: 'quicksave checkpoint 4711 -o job.qs', does: 'saves process 4711, which goes on' },
    { line: 'quicksave checkpoint 4711 -o job.qs --kill --compress', does: 'saves it compressed, and ends it' },
    {
      line: 'quicksave checkpoint 4711 -o job.qs --encrypt secret.key',
      does: 'saves it into an image that only who has the key can read or change',
    },
    {
      line: 'quicksave checkpoint 4711 -o s3://saves/job.qs --kill',
      does: 'saves it into an object store, and ends it when it is there',
    },
    {
      line: 'quicksave checkpoint 4711 -o - --kill | ssh host quicksave restart -',
      does: 'moves it to another host',
    },
  ],
  restart: [
    { line: 'quicksave restart job.qs', does: 'brings it back, and ends as it ends' },
    { line: 'quicksave restart job.qs --detach --pid-file job.pid', does: 'brings it back in the background' },
    { line: 'quicksave restart job.qs --lazy', does: 'lets it run at once, and loads its memory beside it' },
    {
      line: 'quicksave restart job.qs --clock continue',
      does: 'on another host, or after a reboot: CLOCK_MONOTONIC goes on where it stood',
    },
    { line: 'quicksave restart job.qs --cgroups', does: 'after a reboot: makes the cgroups that it was in' },
    { line: 'quicksave restart ssh://backup/srv/job.qs', does: 'brings it back from a file of another host' },
  ],
  check: [
    { line: 'quicksave check', does: 'says what this host can do' },
    { line: 'quicksave check 4711', does: 'says what stands in the way of saving process 4711' },
  ],
  keygen: [
    { line: 'quicksave keygen secret.key', does: 'makes a secret for --encrypt and --key' },
    {
      line: 'quicksave keygen --recipient restore.key',
      does: 'makes two: saves are made with --encrypt restore.key.pub, and opened with --key restore.key',
    },
    { line: 'quicksave keygen --signing release.key', does: 'makes two, for --sign and --verify-key' },
  ],
  cleanup: [{ line: 'quicksave cleanup', does: 'gives up connections of saves that will not be restarted' }],
  merge: [
    { line: 'quicksave merge second.qs -o whole.qs', does: 'makes it independent of the images that it builds on' },
  ],
  run: [
    {
      line: 'quicksave run --dir job -- python3 train.py',
      does: 'starts the program, or goes on from its newest save',
    },
    {
      line: 'quicksave run --every 30m --keep 5 --grace 100s --dir job -- ./simulate',
      does: 'saves every half hour, keeps five saves',
    },
  ],
  status: [{ line: 'quicksave status job', does: 'says how the job in the folder job stands' }],
  history: [{ line: 'quicksave history job', does: 'says what has happened to it' }],
  inspect: [
    { line: 'quicksave inspect job.qs', does: 'shows the process tree and what takes room' },
    { line: 'quicksave inspect job.qs --task 4711', does: 'shows state, registers and stacks of process 4711' },
    { line: 'quicksave inspect job.qs --memory 0x7ffc1000:64', does: 'shows 64 bytes of memory' },
    { line: 'quicksave inspect job.qs --search password', does: 'shows where the text stands in memory' },
  ],
  diff: [{ line: 'quicksave diff earlier.qs later.qs', does: 'shows what changed between two saves' }],
  export: [
    {
      line: 'quicksave export --format core job.qs -o core && gdb ./program core',
      does: 'looks at a save with a debugger',
    },
  ],
  report: [{ line: 'quicksave report job.qs -o job.html', does: 'makes a page that any browser shows' }],
  verify: [{ line: 'quicksave verify job.qs', does: 'checks every byte of the image' }],
  completion: [
    { line: 'source <(quicksave completion bash)', does: 'completes commands and options in this shell' },
    {
      line: 'quicksave completion fish > ~/.config/fish/completions/quicksave.fish',
      does: 'does so in every fish to come',
    },
  ],
  version: [{ line: 'quicksave version --json', does: 'prints versions as data' }],
};
