/** What the restart command adds to a stream that does not say all of a process: its own states, and the files of this host. */
import type { RestartSide } from '../linux-cr/to-image.ts';
import { processAspects, threadAspects } from '../resources/registry.ts';
import type { HostView } from '../resources/resource.ts';
import { tryStat } from '../support/try-stat.ts';

export const sideOf = (host: HostView): RestartSide => ({
  processStates: statesOf(processAspects, host),
  threadStates: statesOf(threadAspects, host),
  acceptChangedFiles: host.acceptChangedFiles,
  lookAt: tryStat,
});

interface OfCommand {
  readonly name: string;
  readonly ofCommand?: (host: HostView) => unknown;
}

const statesOf = (aspects: readonly OfCommand[], host: HostView): Record<string, unknown> =>
  Object.fromEntries(
    aspects.flatMap(({ name, ofCommand }) => (ofCommand === undefined ? [] : [[name, ofCommand(host)]])),
  );
