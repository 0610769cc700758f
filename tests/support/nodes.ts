/** The versions of Node that programs are written for: the one that runs the tests, and those that tools/setup-nodes.mjs fetches. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const fetched = join(dirname(fileURLToPath(import.meta.url)), '..', 'nodes', 'node_modules');

export interface NodeVersion {
  readonly name: string;
  readonly program: string;
  /** Why tests with it are skipped, if they are. */
  readonly missing: string | undefined;
}

const newer = (major: number): NodeVersion => {
  const program = join(fetched, `node-${major}`, 'bin', 'node');
  return {
    name: `Node ${major}`,
    program,
    missing: existsSync(program) ? undefined : `Node ${major} could not be fetched (tools/setup-nodes.mjs)`,
  };
};

export const thisNode: NodeVersion = { name: 'this Node', program: process.execPath, missing: undefined };

export const nodeVersions: readonly NodeVersion[] = [thisNode, newer(22), newer(24)];
