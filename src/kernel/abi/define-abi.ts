/**
 * What a module of this folder says of the kernel's binary interface, in the spelling of the headers. The abi tests compile
 * a C program from it and compare every constant, size and offset with the headers of the system.
 */
import type { StructLayout } from '../struct.ts';

export interface AbiStruct extends StructLayout {
  /** The type's name in C when it is not `struct <key>`. */
  readonly cType?: string;
  /** A C declaration, for what no header gives to user space or not yet on every system. Not used when `guard` is defined. */
  readonly definition?: string;
  /** A macro that the header with this struct defines. */
  readonly guard?: string;
}

export interface AbiModule {
  /** C headers, in the order in which they are included. */
  readonly headers: readonly string[];
  readonly constants: Readonly<Record<string, number | bigint>>;
  /** Those of the constants that a system's headers may be too old for; compared where they are defined. */
  readonly unlisted?: Readonly<Record<string, number | bigint>>;
  readonly structs?: Readonly<Record<string, AbiStruct>>;
}

export function defineAbi<const Module extends AbiModule>(module: Module): Module {
  return module;
}

/** For names that we use without the prefix of the header. */
export function withPrefix<Values extends Readonly<Record<string, number>>>(
  prefix: string,
  values: Values,
): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [prefix + name, value]));
}
