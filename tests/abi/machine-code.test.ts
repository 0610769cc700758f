/** Every byte of machine code in src/ against what the system's assembler makes of its source. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { homeCode, machineCode, remoteCallSize, routines, stateBlock } from '../../src/arch/x86/machine-code.ts';
import { registerNames } from '../../src/arch/x86/registers.ts';
import { stubProgram, stubProgram32 } from '../../src/arch/x86/stub-elf.ts';
import { ERRNO } from '../../src/kernel/abi/errno.ts';
import { PR } from '../../src/kernel/abi/prctl.ts';
import { SIGNAL } from '../../src/kernel/abi/signal.ts';
import { SYS } from '../../src/kernel/abi/syscall.ts';
import { SYS_I386 } from '../../src/kernel/abi/syscall-i386.ts';
import { WAIT } from '../../src/kernel/abi/wait.ts';
import { assemble, countHexConstants, hasAssembler, machineCodeIn, numberIn } from './assembler.ts';

const sources = new URL('../../src/', import.meta.url);
const routineSource = readFileSync(new URL('arch/x86/machine-code.S', sources), 'utf8');
const withoutAssembler = !hasAssembler();

const cloneAndExecute = `
        mov     r9, rcx
        mov     eax, ${SYS.clone3}
        syscall
        test    rax, rax
        jnz     out
        mov     rdi, rdx
        mov     rsi, r9
        mov     rdx, r8
        mov     eax, ${SYS.execve}
        syscall
        mov     edi, 127
        mov     eax, ${SYS.exit_group}
        syscall
out:    ret`;

/** Bytes of each of three stretches that are done at once. */
const STRETCH = 2048;

/** x^(8 n - 33) modulo the polynomial of CRC-32C, bits reversed: times this, and through crc32, a checksum is that of n more zeros. */
function behindZeros(bytes: number): number {
  let power = 0x80000000;
  for (let bit = 0; bit < 8 * bytes - 33; bit++) power = (power >>> 1) ^ ((power & 1) === 0 ? 0 : 0x82f63b78);
  return power >>> 0;
}

const checksum = `
        mov     eax, edi
        not     eax
        mov     r8d, ${behindZeros(2 * STRETCH)}
        movd    xmm1, r8d
        mov     r8d, ${behindZeros(STRETCH)}
        movd    xmm2, r8d
        jmp     next_three
three:  xor     r10d, r10d
        xor     r11d, r11d
        mov     ecx, ${STRETCH / 8}
side:   crc32   rax, qword ptr [rsi]
        crc32   r10, qword ptr [rsi + ${STRETCH}]
        crc32   r11, qword ptr [rsi + ${2 * STRETCH}]
        add     rsi, 8
        dec     ecx
        jnz     side
        movd    xmm0, eax
        pclmulqdq xmm0, xmm1, 0
        movq    rax, xmm0
        xor     r9d, r9d
        crc32   r9, rax
        movd    xmm0, r10d
        pclmulqdq xmm0, xmm2, 0
        movq    r10, xmm0
        xor     eax, eax
        crc32   rax, r10
        xor     eax, r9d
        xor     eax, r11d
        add     rsi, ${2 * STRETCH}
        sub     rdx, ${3 * STRETCH}
next_three:
        cmp     rdx, ${3 * STRETCH}
        jae     three
        jmp     next_word
words:  crc32   rax, qword ptr [rsi]
        add     rsi, 8
        sub     rdx, 8
next_word:
        cmp     rdx, 8
        jae     words
        jmp     next_byte
bytes:  crc32   eax, byte ptr [rsi]
        inc     rsi
        dec     rdx
next_byte:
        test    rdx, rdx
        jnz     bytes
        not     eax
        ret`;

const cloneAndCall = `
        mov     r9, rdx
        mov     r8, rcx
        xor     edx, edx
        xor     r10d, r10d
        mov     eax, ${SYS.clone}
        syscall
        test    rax, rax
        jnz     out
        mov     r12, r9
        mov     r13, r8
        mov     eax, ${SYS.setsid}
        syscall
next:   test    r13, r13
        jz      done
        mov     rax, [r12]
        mov     rdi, [r12 + 8]
        mov     rsi, [r12 + 16]
        mov     rdx, [r12 + 24]
        mov     r10, [r12 + 32]
        mov     r8, [r12 + 40]
        mov     r9, [r12 + 48]
        syscall
        mov     [r12 + 56], rax
        cmp     qword ptr [r12 + 64], 0
        je      on
        cmp     rax, -4096
        ja      done
on:     add     r12, 72
        dec     r13
        jmp     next
done:   xor     edi, edi
        mov     eax, ${SYS.exit_group}
        syscall
out:    ret`;

const holdDescriptors = `
        mov     rdx, rsi
        xor     esi, esi
        xor     r10d, r10d
        xor     r8d, r8d
        mov     eax, ${SYS.clone}
        syscall
        test    rax, rax
        jz      child
        ret
child:  mov     ebx, edx
        mov     edi, ${PR.PR_SET_PDEATHSIG}
        mov     esi, ${SIGNAL.SIGKILL}
        mov     eax, ${SYS.prctl}
        syscall
        mov     eax, ${SYS.getppid}
        syscall
        cmp     eax, ebx
        jne     gone
        mov     eax, ${SYS.setsid}
        syscall
sleep:  mov     eax, ${SYS.pause}
        syscall
        jmp     sleep
gone:   xor     edi, edi
        mov     eax, ${SYS.exit_group}
        syscall`;

const syscallThunk = `
        mov     rax, rdi
        mov     rdi, rsi
        mov     rsi, rdx
        mov     rdx, rcx
        mov     r10, r8
        mov     r8, r9
        mov     r9, [rsp + 8]
        syscall
        ret`;

const cpuidCode = `
        push    rbx
        mov     r8, rdx
        mov     eax, edi
        mov     ecx, esi
        cpuid
        mov     [r8], eax
        mov     [r8 + 4], ebx
        mov     [r8 + 8], ecx
        mov     [r8 + 12], edx
        pop     rbx
        xor     eax, eax
        ret`;

const noteSignal = `
        mov     [rip + note], edi
        ret
restorer:
        mov     eax, ${SYS.rt_sigreturn}
        syscall
        nop
        nop
note:   .long   0`;

const PR_SET_PDEATHSIG = 1;

/** The parent's pid is compared in 32 bits, whatever it is: an assembler alone would take the shortest form. */
const stubEntry = (parent: number): string => `
        mov     edi, ${PR_SET_PDEATHSIG}
        mov     esi, ${SIGNAL.SIGKILL}
        xor     edx, edx
        xor     r10d, r10d
        xor     r8d, r8d
        mov     eax, ${SYS.prctl}
        syscall
        mov     eax, ${SYS.getppid}
        syscall
        .byte   0x3d
        .long   ${parent}
        jne     leave
again:  mov     eax, ${SYS.pause}
        syscall
        jmp     again
leave:  mov     edi, 1
        mov     eax, ${SYS.exit_group}
        syscall`;

/** The same instructions in 32-bit code: the assembler makes the same bytes of them. */
const stubEntry32 = (parent: number): string => `
        mov     ebx, ${PR_SET_PDEATHSIG}
        mov     ecx, ${SIGNAL.SIGKILL}
        xor     edx, edx
        xor     esi, esi
        xor     edi, edi
        mov     eax, ${SYS_I386.prctl}
        int     0x80
        mov     eax, ${SYS_I386.getppid}
        int     0x80
        .byte   0x3d
        .long   ${parent}
        jne     leave
again:  mov     eax, ${SYS_I386.pause}
        int     0x80
        jmp     again
leave:  mov     ebx, 1
        mov     eax, ${SYS_I386.exit_group}
        int     0x80`;

const keeper = (first: number): string => `
        mov     r12d, ${first}
        xor     edi, edi
        lea     esi, [r12 - 1]
        xor     edx, edx
        mov     eax, ${SYS.close_range}
        syscall
        lea     edi, [r12 + 2]
        mov     esi, -1
        xor     edx, edx
        mov     eax, ${SYS.close_range}
        syscall
        mov     eax, ${SYS.setsid}
        syscall
        lea     rdi, [rip + root]
        mov     eax, ${SYS.chdir}
        syscall
        mov     edi, ${PR.PR_SET_NAME}
        lea     rsi, [rip + name]
        mov     eax, ${SYS.prctl}
        syscall
        mov     edi, ${SIGNAL.SIG_SETMASK}
        lea     rsi, [rip + none]
        xor     edx, edx
        mov     r10d, 8
        mov     eax, ${SYS.rt_sigprocmask}
        syscall
        lea     eax, [r12 + 1]
        mov     [rsp - 16], eax
        mov     dword ptr [rsp - 12], 1
again:  lea     rdi, [rsp - 16]
        mov     esi, 1
        mov     edx, -1
        mov     eax, ${SYS.poll}
        syscall
        cmp     eax, 1
        jne     again
        xor     edi, edi
        mov     eax, ${SYS.exit_group}
        syscall
root:   .asciz  "/"
name:   .asciz  "quicksave-keep"
none:   .quad   0`;

const reaper = `
again:  mov     edi, -1
        xor     esi, esi
        mov     edx, ${WAIT.__WALL}
        xor     r10d, r10d
        mov     eax, ${SYS.wait4}
        syscall
        test    rax, rax
        jns     again
        cmp     eax, -${ERRNO.EINTR}
        je      again
        xor     edi, edi
        mov     eax, ${SYS.exit_group}
        syscall`;

const thunks: [file: string, name: string, source: string][] = [
  ['kernel/calls/spawn.ts', 'cloneAndExecute', cloneAndExecute],
  ['kernel/calls/descriptor-holder.ts', 'holdDescriptors', holdDescriptors],
  ['kernel/calls/surviving-calls.ts', 'cloneAndCall', cloneAndCall],
  ['kernel/ffi.ts', 'syscallThunk', syscallThunk],
  ['kernel/cpu.ts', 'cpuidCode', cpuidCode],
  ['kernel/interrupt-flag.ts', 'code', noteSignal],
  ['kernel/crc32c.ts', 'checksumCode', checksum],
  ['arch/x86/keeper-elf.ts', 'keeper', keeper(0)],
  ['arch/x86/reaper-elf.ts', 'code', reaper],
  ['arch/x86/stub-elf.ts', 'code', stubEntry(0)],
  ['arch/x86/stub-elf.ts', 'code32', stubEntry32(0)],
];

/** Files with hexadecimal constants, and how many: a new one must be assembled here too, or said not to be code. */
const hexConstants: Record<string, number> = {
  'arch/x86/keeper-elf.ts': 1,
  'arch/x86/machine-code.ts': 1,
  'arch/x86/reaper-elf.ts': 1,
  // The code, and the first bytes of an ELF header, of 64 and of 32 bits.
  'arch/x86/stub-elf.ts': 4,
  // What stands in for functions of a vDSO, which vdso-redirect.test.ts assembles and runs, and forms that are looked for.
  'arch/x86/vdso-redirect.ts': 9,
  'kernel/calls/descriptor-holder.ts': 1,
  'kernel/calls/spawn.ts': 1,
  'kernel/calls/surviving-calls.ts': 1,
  'kernel/cpu.ts': 1,
  'kernel/crc32c.ts': 1,
  'kernel/ffi.ts': 1,
  'kernel/interrupt-flag.ts': 1,
  // The `syscall` and `int 0x80` instructions that are looked for in a vDSO.
  'restart/resume.ts': 2,
};

describe('the routines', () => {
  it('are what machine-code.S assembles to', (context) => {
    if (withoutAssembler) context.skip('binutils are not installed');
    expect(Buffer.from(machineCode).toString('hex')).toBe(assemble(routineSource).bytes.toString('hex'));
  });

  it('begin where machine-code.S has their labels', (context) => {
    if (withoutAssembler) context.skip('binutils are not installed');
    const { labels } = assemble(routineSource);
    const globals = [...routineSource.matchAll(/\.globl (\w+)/g)].map(([, name = '']) => name);
    expect({ ...routines }).toEqual(Object.fromEntries(globals.map((name) => [name, labels[name]])));
    expect(homeCode.length).toBe(labels['end_of_home']);
    expect(machineCode.length).toBe(labels['end_of_agent']);
  });

  it('use the fields of the state block by the offsets that are known outside', () => {
    const used = [...routineSource.matchAll(/\[rbx \+ (0x[0-9a-f]+)\]/g)].map(([, offset]) => Number(offset));
    const { registers, iretFrame, ...fields } = stateBlock;
    expect([...new Set(used)].sort((a, b) => a - b)).toEqual(Object.values(fields).sort((a, b) => a - b));
    expect([registers, iretFrame]).toEqual([0, 15 * 8]);
  });

  it('take the registers off the block in the order in which ptrace has them, and leave by iretq', () => {
    const home = routineSource.slice(routineSource.indexOf('go_home:'), routineSource.indexOf('end_of_home:'));
    const popped = [...home.matchAll(/^\s+pop\s+(\w+)/gm)].map(([, name]) => name);
    expect(popped).toEqual(registerNames.slice(0, 15));
    expect(home).toMatch(/pop\s+rdi\s+iretq/);
    const behindCall = registerNames.indexOf('rip');
    expect(registerNames.slice(behindCall, behindCall + 5)).toEqual(['rip', 'cs', 'eflags', 'rsp', 'ss']);
  });

  it('step through calls by the size that is known outside', () => {
    expect(Number(/add\s+r12, (\d+)/.exec(routineSource)?.[1])).toBe(remoteCallSize);
  });
});

describe('the pieces of machine code', () => {
  it.for(thunks)('in %s (%s) are what their comment says', ([file, name, source], context) => {
    if (withoutAssembler) context.skip('binutils are not installed');
    expect(machineCodeIn(file, name).toString('hex')).toBe(assemble(source).bytes.toString('hex'));
  });

  it('are all assembled here', () => {
    const files = readdirSync(sources, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const counted = files.map((file) => [file, countHexConstants(file)] as const).filter(([, count]) => count > 0);
    expect(Object.fromEntries(counted)).toEqual(hexConstants);
  });

  it('note a signal and return at the offsets that interrupt-flag.ts hands to the kernel', (context) => {
    if (withoutAssembler) context.skip('binutils are not installed');
    const { labels } = assemble(noteSignal);
    expect(numberIn('kernel/interrupt-flag.ts', 'RESTORER_OFFSET')).toBe(labels['restorer']);
    expect(numberIn('kernel/interrupt-flag.ts', 'NOTE_OFFSET')).toBe(labels['note']);
    expect((labels['note'] ?? 1) % 4).toBe(0);
  });

  it.for([1, 127, 128, 4_194_303])('in a stub know the parent %d', (parent, context) => {
    if (withoutAssembler) context.skip('binutils are not installed');
    const { image } = stubProgram(0x10_0000, parent);
    const expected = assemble(stubEntry(parent)).bytes;
    const entry = Number(image.readBigUInt64LE(24)) - 0x10_0000;
    expect(image.subarray(entry, entry + expected.length).toString('hex')).toBe(expected.toString('hex'));
    const { image: image32 } = stubProgram32(0x10_0000, parent);
    const expected32 = assemble(stubEntry32(parent)).bytes;
    const entry32 = image32.readUInt32LE(24) - 0x10_0000;
    expect(image32.subarray(entry32, entry32 + expected32.length).toString('hex')).toBe(expected32.toString('hex'));
  });
});
