/** The thread's name (comm): PR_SET_NAME, 15 bytes. Set from inside, because /proc takes it only from the same process. */
import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { boundedString } from '../../image/schema.ts';
import { PR } from '../../kernel/abi/prctl.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { ThreadAspect } from '../resource.ts';

const COMM_SIZE = 16;

const schema = v.strictObject({ comm: boundedString(COMM_SIZE * 4) });

export const threadName: ThreadAspect<{ comm: string }> = {
  name: 'name',
  schema,
  collect: ({ pid, tid }) => {
    // Names are bytes: latin1 keeps every one of them. The kernel adds a line end.
    const comm = readFileSync(`/proc/${pid}/task/${tid}/comm`, 'latin1').slice(0, -1);
    return () => ({ comm });
  },
  restore: (state, { batch }) => {
    const bytes = Buffer.alloc(COMM_SIZE);
    bytes.write(state.comm, 'latin1');
    batch.call('set the name', SYS.prctl, PR.PR_SET_NAME, batch.bytes(bytes).address);
  },
};
