// A program of 1 GiB: checkpoint against writing as many bytes, restart against reading them, pause against fork.
import { result, rounds } from '../measure.mjs';
import { bringBack, MEBIBYTE, reference, save, startTarget, warmMemory, writeAndRead } from '../processes.mjs';

const BYTES = 1024 * MEBIBYTE;
const ALLOWANCE_MS = 150;
const FACTOR = 1.3;

export async function ask(count) {
  const found = await rounds(count, [
    async () => {
      // The program, its image, and the program again.
      warmMemory(3 * BYTES);
      const target = await startTarget({ bytes: BYTES, idle: true });
      const { checkpoint } = await save(target);
      return { checkpoint, ...(await bringBack(target)) };
    },
    async () => {
      warmMemory(3 * BYTES);
      const target = await startTarget({ bytes: BYTES });
      const { checkpoint: beside, pause, seen } = await save(target);
      await target.end();
      return { beside, pause, seen };
    },
    () => {
      warmMemory(3 * BYTES);
      return { ...writeAndRead(BYTES), fork: reference('fork', BYTES) };
    },
  ]);
  return [
    result('1 GiB: checkpoint', found.checkpoint, {
      reference: ['write to tmpfs', found.write],
      target: withAllowance('write', found.write),
    }),
    result('1 GiB: checkpoint, while it computes', found.beside, { reference: ['write to tmpfs', found.write] }),
    result('1 GiB: restart', found.restart, {
      reference: ['read into fresh memory', found.read],
      target: withAllowance('read', found.read),
    }),
    result('1 GiB: pause, as reported', found.pause, { reference: ['fork', found.fork], target: pauseTarget(found) }),
    result('1 GiB: pause, as the program saw it', found.seen, {
      reference: ['fork', found.fork],
      target: pauseTarget(found),
    }),
  ];
}

const pauseTarget = ({ fork }) => ['2 × (fork + 10 ms)', (key) => 2 * (fork[key] + 10)];

function withAllowance(name, reference) {
  return [`${FACTOR} × (${name} + ${ALLOWANCE_MS} ms)`, (key) => FACTOR * (reference[key] + ALLOWANCE_MS)];
}
