/**
 * A bundle of the command, loaded with what V8 has compiled of it before: to parse and compile it takes half as long again as Node's own
 * start. The compiled code is made by the build, in a file beside it. V8 does not take what another version of it, or one with other
 * flags, has made: then all is compiled anew.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

export interface CompiledBundle {
  readonly exports: unknown;
  /** V8 has taken the code that was there. */
  readonly isFromCode: boolean;
  /** Writes all that is compiled by now, for the next load. */
  keepCode(): void;
}

/** What the build puts around a bundle. */
type Wrapped = (exports: object, require: NodeJS.Require, module: { exports: object }, fileName: string) => void;

/** `name` without its ending, in the folder of this file. */
export function loadBundle(name: string): CompiledBundle {
  const path = fileURLToPath(new URL(`./${name}.cjs`, import.meta.url));
  const codePath = fileURLToPath(new URL(`./${name}.code`, import.meta.url));
  const cachedData = existsSync(codePath) ? readFileSync(codePath) : undefined;
  // The build writes nothing but ASCII, which is read fastest in this way.
  const script = new Script(readFileSync(path, 'latin1'), { filename: path, ...(cachedData && { cachedData }) });
  const module = { exports: {} };
  (script.runInThisContext() as Wrapped)(module.exports, createRequire(path), module, path);
  return {
    exports: module.exports,
    isFromCode: cachedData !== undefined && script.cachedDataRejected === false,
    keepCode: () => {
      // Flags are part of what V8 compares, and a rehearsal sets this one.
      setFlagsFromString('--no-always-sparkplug');
      writeFileSync(codePath, script.createCachedData());
    },
  };
}
