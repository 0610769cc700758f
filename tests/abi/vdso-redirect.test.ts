/** What takes the place of functions of a vDSO: against the assembler, and run. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { redirect } from '../../src/arch/x86/vdso-redirect.ts';
import { dynamicFunctions } from '../../src/support/elf-symbols.ts';
import { assemble, hasAssembler } from './assembler.ts';

const START = 0x7f00_0000_0000;
const NOW = START + 0x10_0000;

const names64 = ['clock_gettime', 'gettimeofday', 'time', 'clock_getres', 'getcpu', 'getrandom', 'of_the_future'];
const names32 = names64.filter((name) => name !== 'getrandom').concat('clock_gettime64', 'clock_getres_time64');

interface Function {
  readonly name: string;
  readonly code: string;
}

const nops = (count: number): string => `.fill ${count}, 1, 0x90`;
const functionsOf = (names: readonly string[]): Function[] =>
  names.map((name) => ({ name: `__vdso_${name}`, code: nops(64) }));

/** A shared object with these functions, as a vDSO is one. */
function vdsoWith(functions: readonly Function[], is32Bit: boolean): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'quicksave-vdso-'));
  try {
    const source = functions.map(
      ({ name, code }) => `.globl ${name}\n.type ${name}, @function\n${name}:\n${code}\n.size ${name}, . - ${name}\n`,
    );
    const output = join(folder, 'vdso');
    const flags = ['-shared', '-nostdlib', '-s', '-Wl,-z,noseparate-code', '-x', 'assembler', '-', '-o', output];
    execFileSync('gcc', [...(is32Bit ? ['-m32'] : []), ...flags], { input: `.text\n${source.join('')}` });
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Code by function, as it stands in the old vDSO afterwards. */
function changesOf(old: Buffer, now: Buffer, is32Bit: boolean): Map<string, { bytes: Buffer; start: number }> {
  const redirection = redirect({ image: old, start: START }, { image: now, start: NOW }, is32Bit);
  const named = (redirection?.changes ?? []).map(({ start, bytes }) => {
    const name = dynamicFunctions(old)?.find(({ offset }) => offset === start)?.name ?? '?';
    return [name, { bytes, start }] as const;
  });
  return new Map(named);
}

const sources64 = (number: number): string => `mov eax, ${number}\nsyscall\nret`;
const sources32 = (number: number): string =>
  `push ebx\nmov eax, ${number}\nmov ebx, [esp + 8]\nmov ecx, [esp + 12]\nmov edx, [esp + 16]\nint 0x80\npop ebx\nret`;

describe.skipIf(!hasAssembler())('functions that this kernel lacks', () => {
  it.each([
    { is32Bit: false, names: names64, flags: [] },
    { is32Bit: true, names: names32, flags: ['-m32'] },
  ])('answer as they should (32 bits: $is32Bit)', ({ is32Bit, names, flags }) => {
    const changes = changesOf(
      vdsoWith(functionsOf(names), is32Bit),
      vdsoWith(functionsOf(['getsomething']), is32Bit),
      is32Bit,
    );
    expect(changes.size).toBe(names.length);
    const folder = mkdtempSync(join(tmpdir(), 'quicksave-vdso-'));
    try {
      const program = join(folder, 'vdso-answers');
      const source = new URL('../programs/vdso-answers.c', import.meta.url).pathname;
      execFileSync('gcc', ['-O1', ...flags, source, '-o', program]);
      const codes = [...changes].map(([name, { bytes }]) => `${name}=${bytes.toString('hex')}`);
      expect(execFileSync(program, codes, { encoding: 'utf8' })).toBe('ok\n');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('are what the assembler makes of them', () => {
    const change = (name: string, is32Bit: boolean): string => {
      const old = vdsoWith(functionsOf([name]), is32Bit);
      const changed = changesOf(old, vdsoWith(functionsOf(['getsomething']), is32Bit), is32Bit);
      return changed.get(`__vdso_${name}`)?.bytes.toString('hex') ?? '';
    };
    const assembled = (source: string, bits = 64): string =>
      assemble(`.intel_syntax noprefix\n.code${bits}\n${source}\n`).bytes.toString('hex');
    expect(change('getcpu', false)).toBe(assembled(sources64(309)));
    expect(change('getcpu', true)).toBe(assembled(sources32(318), 32));
    expect(change('of_the_future', false)).toBe(assembled('mov rax, -38\nret'));
    expect(change('of_the_future', true)).toBe(assembled('mov eax, -38\nret', 32));
    expect(change('getrandom', false)).toBe(
      assembled('cmp r8, -1\nje refuse\nmov eax, 318\nsyscall\nret\nrefuse: mov rax, -38\nret'),
    );
  });
});

const entry = (fast: string): Function => ({
  name: '__kernel_vsyscall',
  code: `push %ecx\npush %edx\npush %ebp\n${fast}\nint $0x80\npop %ebp\npop %edx\npop %ecx\nret`,
});

describe.skipIf(!hasAssembler())('functions that this kernel has', () => {
  const target = (change: { bytes: Buffer; start: number } | undefined): number =>
    START + (change?.start ?? 0) + 5 + (change?.bytes.readInt32LE(1) ?? 0);
  const placeIn = (image: Buffer, wanted: string): number =>
    dynamicFunctions(image)?.find(({ name }) => name === wanted)?.offset ?? Number.NaN;

  it('are jumped to, by name and wherever they stand', () => {
    const old = vdsoWith(functionsOf(['time', 'getcpu', 'clock_gettime']), false);
    const now = vdsoWith(functionsOf(['clock_gettime', 'time', 'getrandom', 'getcpu']), false);
    const changes = changesOf(old, now, false);
    for (const name of ['__vdso_time', '__vdso_getcpu', '__vdso_clock_gettime']) {
      expect(changes.get(name)?.bytes[0]).toBe(0xe9);
      expect(target(changes.get(name))).toBe(NOW + placeIn(now, name));
    }
  });

  it.each(['mov %esp, %ebp\nsysenter', 'mov %ecx, %ebp\nsyscall', '.byte 0x0f, 0x1f, 0x40, 0'])(
    'have the entry for calls of i386 among them, whose call and return stay: %s',
    (fast) => {
      const old = vdsoWith([...functionsOf(['time']), entry(fast)], true);
      const now = vdsoWith([entry(''), ...functionsOf(['time'])], true);
      const redirection = redirect({ image: old, start: START }, { image: now, start: NOW }, true);
      const start = placeIn(old, '__kernel_vsyscall');
      expect(redirection?.entryForCalls).toEqual({ start, call: start + 7, pushesEnd: start + 3 });
      expect(target(changesOf(old, now, true).get('__kernel_vsyscall'))).toBe(NOW + placeIn(now, '__kernel_vsyscall'));
      expect(Math.max(...(redirection?.changes ?? []).map(({ end }) => end))).toBeLessThanOrEqual(start + 7);
    },
  );

  it('do not need a jump where the entry is only int 0x80, and are not guessed at where it is something else', () => {
    const now = vdsoWith([entry('')], true);
    const unchangeable = (code: string): readonly string[] | undefined =>
      redirect(
        { image: vdsoWith([{ name: '__kernel_vsyscall', code }], true), start: START },
        { image: now, start: NOW },
        true,
      )?.unchangeable;
    expect(unchangeable('int $0x80\nret')).toEqual([]);
    expect(unchangeable('sysenter\nret')).toEqual(['__kernel_vsyscall']);
  });

  it('end signal handlers as they are', () => {
    const names = ['__kernel_sigreturn', '__kernel_rt_sigreturn'].map((name) => ({ name, code: nops(16) }));
    const old = vdsoWith([...names, ...functionsOf(['time'])], true);
    expect([...changesOf(old, vdsoWith(functionsOf(['time']), true), true).keys()]).toEqual(['__vdso_time']);
  });

  it('too short for a jump are named', () => {
    const old = vdsoWith([{ name: '__vdso_time', code: nops(4) }, ...functionsOf(['getcpu'])], false);
    const now = vdsoWith(functionsOf(['time', 'getcpu']), false);
    const found = redirect({ image: old, start: START }, { image: now, start: NOW }, false);
    expect(found?.unchangeable).toEqual(['__vdso_time']);
  });

  it('are none in what is no vDSO', () => {
    const old = vdsoWith(functionsOf(['time']), false);
    expect(redirect({ image: Buffer.alloc(4096), start: 0 }, { image: old, start: 0 }, false)).toBeUndefined();
    expect(redirect({ image: old, start: 0 }, { image: Buffer.alloc(0), start: 0 }, false)).toBeUndefined();
  });
});
