/** Turns a module of src/kernel/abi into a C program that prints what the system's headers say of the same names. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AbiModule, AbiStruct } from '../../src/kernel/abi/define-abi.ts';
import { sizeOfType } from '../../src/kernel/struct.ts';

/** One fact by its C expression, as an unsigned 64-bit value. */
export type Facts = Map<string, bigint>;

function cTypeOf(name: string, struct: AbiStruct): string {
  return struct.cType ?? `struct ${name}`;
}

function structFacts(name: string, struct: AbiStruct): [expression: string, value: bigint][] {
  const type = cTypeOf(name, struct);
  const facts: [string, bigint][] = [[`sizeof(${type})`, BigInt(struct.size)]];
  for (const [field, [offset, fieldType]] of Object.entries(struct.fields)) {
    facts.push([`offsetof(${type}, ${field})`, BigInt(offset)]);
    facts.push([`sizeof(((${type} *)0)->${field})`, BigInt(sizeOfType(fieldType))]);
  }
  return facts;
}

/** What our module says, by the C expression that must have the same value. */
export function expectedFacts(module: AbiModule): Facts {
  const facts: Facts = new Map();
  for (const [name, value] of Object.entries(module.constants)) facts.set(name, BigInt.asUintN(64, BigInt(value)));
  for (const [name, struct] of Object.entries(module.structs ?? {})) {
    for (const [expression, value] of structFacts(name, struct)) facts.set(expression, value);
  }
  return facts;
}

function definitionOf(struct: AbiStruct): string {
  if (struct.definition === undefined) return '';
  return struct.guard === undefined ? struct.definition : `#ifndef ${struct.guard}\n${struct.definition}\n#endif`;
}

function printFact(expression: string, mayLack: boolean): string {
  const print = `printf("%s\\t%llu\\n", "${expression}", (unsigned long long)(${expression}));`;
  return mayLack ? `#ifdef ${expression}\n${print}\n#endif` : print;
}

interface Program {
  readonly headers: readonly string[];
  readonly definitions: readonly string[];
  readonly statements: readonly string[];
}

const sourceOf = ({ headers, definitions, statements }: Program): string =>
  [
    '#define _GNU_SOURCE',
    '#include <stddef.h>',
    '#include <stdio.h>',
    ...headers.map((header) => `#include <${header}>`),
    ...definitions,
    'int main(void) {',
    ...statements,
    'return 0; }',
    '',
  ].join('\n');

export function hasCompiler(): boolean {
  return spawnSync('gcc', ['--version'], { stdio: 'ignore' }).status === 0;
}

function run(command: string, args: string[]): string {
  const result = spawnSync(command, args, { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`${command} failed:\n${result.stderr}`);
  return result.stdout;
}

/** What the headers say of the names in our module. Names that the headers lack are absent. */
export function factsOfHeaders(module: AbiModule): Facts {
  return factsOfProgram({
    headers: module.headers,
    definitions: Object.values(module.structs ?? {}).map(definitionOf),
    statements: Array.from(expectedFacts(module).keys(), (expression) =>
      printFact(expression, module.unlisted !== undefined && expression in module.unlisted),
    ),
  });
}

/** The values of constant expressions of C, after `headers` and `definitions`. */
export const factsInC = (
  headers: readonly string[],
  definitions: readonly string[],
  expressions: readonly string[],
): Facts =>
  factsOfProgram({
    headers,
    definitions,
    statements: expressions.map((expression) => printFact(expression, false)),
  });

function factsOfProgram(program: Program): Facts {
  const folder = mkdtempSync(join(tmpdir(), 'quicksave-abi-'));
  try {
    const source = join(folder, 'abi.c');
    const executable = join(folder, 'abi');
    writeFileSync(source, sourceOf(program));
    run('gcc', ['-o', executable, source]);
    const lines = run(executable, []).trimEnd().split('\n');
    return new Map(
      lines.map((line) => {
        const [expression = '', value = ''] = line.split('\t');
        return [expression, BigInt(value)];
      }),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
