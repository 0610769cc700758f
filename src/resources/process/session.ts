/**
 * Session and process group: setsid(2), setpgid(2), credentials(7). A session or group that the process leads is made
 * again. A session that somebody else led has no leader now, so the process joins that of the restart; a group that
 * somebody else led becomes one of its own, so that the keys of a terminal reach it and not the restart command as well.
 */
import * as v from 'valibot';
import { u32 } from '../../image/schema.ts';
import { SYS } from '../../kernel/abi/syscall.ts';
import type { ProcessAspect } from '../resource.ts';

const schema = v.strictObject({ leadsSession: v.boolean(), leadsGroup: v.boolean(), controllingTerminal: u32 });
type Session = v.InferOutput<typeof schema>;

export const session: ProcessAspect<Session> = {
  name: 'session',
  schema,
  stage: 'early',
  collect:
    ({ pid, stat }) =>
    () => ({
      leadsSession: stat.session === pid,
      leadsGroup: stat.processGroup === pid,
      controllingTerminal: stat.ttyNumber >>> 0,
    }),
  ofCommand: () => ({ leadsSession: false, leadsGroup: true, controllingTerminal: 0 }),
  restore: (state, { batch }) => {
    if (state.leadsSession) batch.call('begin a session', SYS.setsid);
    else batch.call('begin a process group', SYS.setpgid, 0, 0);
  },
  remark: (state, _pid, _host, leads) => {
    if (state.leadsSession && state.controllingTerminal !== 0 && !leads)
      return 'its session has no controlling terminal any more';
    if (state.leadsSession) return undefined;
    const session = 'it is in the session of the restart command';
    return state.leadsGroup ? session : `${session}, and leads a process group of its own now`;
  },
};
