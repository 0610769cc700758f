/**
 * Names in FNAME that are no paths. The mappings that the kernel makes itself are files called `[vvar]`, `[vvar_vclock]` and
 * `[vdso]:` with the SHA-256 of the vDSO. The devices without state are regular files by their type, as a stream of 2008
 * knows no others.
 */

const VDSO = /^\[vdso\]:([0-9a-f]{64})$/;

export const vdsoName = (sha256: string): string => `[vdso]:${sha256}`;

export const vdsoDigest = (name: string): string | undefined => VDSO.exec(name)?.[1];

export const isKernelName = (name: string): boolean =>
  name === '[vvar]' || name === '[vvar_vclock]' || vdsoDigest(name) !== undefined;

/** Minor numbers of the memory devices (major 1), by the only name that is known here. */
export const deviceNumbers: ReadonlyMap<string, number> = new Map([
  ['/dev/null', 3],
  ['/dev/zero', 5],
  ['/dev/full', 7],
  ['/dev/random', 8],
  ['/dev/urandom', 9],
]);
