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

function programFor(module: AbiModule): string {
  return [
    '#define _GNU_SOURCE',
    '#include <stddef.h>',
    '#include <stdio.h>',
    ...module.headers.map((header) => `#include <${header}>`),
    ...Object.values(module.structs ?? {}).map(definitionOf),
    'int main(void) {',
    ...Array.from(expectedFacts(module).keys(), (expression) =>
      printFact(expression, module.unlisted !== undefined && expression in module.unlisted),
    ),
    'return 0; }',
    '',
  ].join('\n');
}

export function hasCompiler(): boolean {
  return spawnSync('gcc', ['--version'], { stdio: 'ignore' }).status === 0;
}

function run(command: string, args: string[]): string {
  const result = spawnSync(command, args, { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`${command} failed:\n${result.stderr}`);
  return result.stdout;
}

/** Compiles and runs the program: what the headers say. Names that the headers lack are absent. */
export function factsOfHeaders(module: AbiModule): Facts {
  const folder = mkdtempSync(join(tmpdir(), 'quicksave-abi-'));
  try {
    const source = join(folder, 'abi.c');
    const program = join(folder, 'abi');
    writeFileSync(source, programFor(module));
    run('gcc', ['-o', program, source]);
    const lines = run(program, []).trimEnd().split('\n');
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
