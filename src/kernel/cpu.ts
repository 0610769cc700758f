/** What this processor is: CPUID, asked by a few bytes of machine code (Intel SDM volume 2, CPUID). */
import { callable, type Thunk } from './ffi.ts';
import { newCall, scratch } from './scratch.ts';

/* push rbx; mov r8,rdx; mov eax,edi; mov ecx,esi; cpuid; store eax ebx ecx edx at [r8]; pop rbx; xor eax,eax; ret */
const cpuidCode = Buffer.from('534989d089f889f10fa2418900418958044189480841895' + '00c5b31c0c3', 'hex');
let thunk: Thunk | undefined;

export interface CpuidAnswer {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

export function cpuid(leaf: number, subleaf: number): CpuidAnswer {
  thunk ??= callable(cpuidCode);
  newCall();
  const { address, view } = scratch(16);
  thunk(leaf, subleaf, address, 0, 0, 0, 0);
  return {
    eax: view.getUint32(0, true),
    ebx: view.getUint32(4, true),
    ecx: view.getUint32(8, true),
    edx: view.getUint32(12, true),
  };
}

const XSAVE_LEAF = 0xd;
const LAST_COMPONENT = 62;

export interface XsaveLayout {
  readonly xcr0: bigint;
  readonly sizeBytes: number;
  readonly components: readonly { index: number; offset: number; sizeBytes: number }[];
}

/** The uncompacted XSAVE area of this processor: what XCR0 can enable, and where each component lies. */
export function xsaveLayout(): XsaveLayout {
  const main = cpuid(XSAVE_LEAF, 0);
  const xcr0 = (BigInt(main.edx) << 32n) | BigInt(main.eax);
  const components = [];
  for (let index = 2; index <= LAST_COMPONENT; index++) {
    if (((xcr0 >> BigInt(index)) & 1n) === 0n) continue;
    const { eax: sizeBytes, ebx: offset } = cpuid(XSAVE_LEAF, index);
    components.push({ index, offset, sizeBytes });
  }
  return { xcr0, sizeBytes: main.ecx, components };
}
