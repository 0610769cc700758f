/**
 * Session and process group: setsid(2), setpgid(2), credentials(7). Which they are is in the TASK record, and they are made
 * again with the tree. A session that somebody outside of the tree led has no leader now, so the root joins that of the
 * restart; a group that somebody outside led becomes one of the root's own, so that the keys of a terminal reach it and not
 * the restart command as well. Images from before process trees, and streams of other formats, have them only here.
 */
import * as v from 'valibot';
import { u32 } from '../../image/schema.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { ProcessAspect } from '../resource.ts';

const schema = v.strictObject({
  leadsSession: v.boolean(),
  leadsGroup: v.boolean(),
  controllingTerminal: u32,
  /** The TASK record says more. */
  inTree: v.optional(v.boolean(), false),
  /** Only of the root of a tree: what it has may be given by somebody outside. */
  isRoot: v.optional(v.boolean(), true),
});
type Session = v.InferOutput<typeof schema>;

export const session: ProcessAspect<Session> = {
  name: 'session',
  schema,
  stage: 'early',
  collect:
    ({ pid, stat, isRoot }) =>
    () => ({
      leadsSession: stat.session === pid,
      leadsGroup: stat.processGroup === pid,
      controllingTerminal: stat.ttyNumber >>> 0,
      inTree: true,
      isRoot,
    }),
  ofCommand: () => ({ leadsSession: false, leadsGroup: true, controllingTerminal: 0, inTree: false, isRoot: true }),
  restore: ({ inTree, leadsSession }, { batch }) => {
    if (inTree) return;
    if (leadsSession) batch.call('begin a session', SYS.setsid);
    else batch.call('begin a process group', SYS.setpgid, 0, 0);
  },
  remark: (state) => {
    if (state.leadsSession && state.controllingTerminal !== 0)
      return 'its session has no controlling terminal any more';
    if (state.leadsSession || !state.isRoot) return undefined;
    const session = 'it is in the session of the restart command';
    return state.leadsGroup ? session : `${session}, and leads a process group of its own now`;
  },
};
