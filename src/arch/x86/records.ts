/**
 * THREAD, CPU and MM_CONTEXT payloads: the layouts of 2008 (DESIGN, "The 2008 records") byte for byte, extended at their end for 64 bits
 * and for states longer than FXSAVE. docs/image-format.md has the tables.
 */
import { ImageError } from '../../support/errors.ts';
import type { RegisterFile } from './registers.ts';
import { type RegisterName, register } from './registers.ts';
import { DESCRIPTOR_SIZE, MAX_LOCAL_DESCRIPTORS, type Segments, segmentBase } from './segments.ts';
import { HEADER_SIZE, LEGACY_SIZE, usedComponents, type XstateComponent, type XstateLayout } from './xstate.ts';

/** r15 .. ss at 0-167, then ds es fs gs at 168-199. */
const registerOrder: readonly RegisterName[] = [
  'r15',
  'r14',
  'r13',
  'r12',
  'rbp',
  'rbx',
  'r11',
  'r10',
  'r9',
  'r8',
  'rax',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'orig_rax',
  'rip',
  'cs',
  'eflags',
  'rsp',
  'ss',
  'ds',
  'es',
  'fs',
  'gs',
];

const DEBUG_REGISTERS = 200;
const USES_DEBUG = 264;
const USED_MATH = 266;
const HAS_FXSR = 268;
const PADDING = 270;
const FPU = 272;
/** The end of the layout of 2008. */
export const CPU_BASE_SIZE = 784;
const FS_BASE = 784;
const GS_BASE = 792;
const XCR0 = 800;
const XSTATE_SIZE = 808;
const COMPONENT_COUNT = 812;
const COMPONENTS = 816;
const COMPONENT_SIZE = 12;
const MAX_COMPONENTS = 62;
const MAX_XSTATE_SIZE = 64 * 1024;
export const DEBUG_REGISTER_COUNT = 8;
/** x87 and SSE, as bits of XCR0. */
const LEGACY_COMPONENTS = 3n;

export interface CpuState {
  readonly registers: RegisterFile;
  /** dr0-dr7; 4 and 5 are always 0. */
  readonly debugRegisters: readonly bigint[];
  readonly xstate: Buffer;
  readonly layout: XstateLayout;
}

/** dr7 with no breakpoint enabled. */
const noBreakpoints = (dr7: bigint): boolean => (dr7 & 0xffn) === 0n;

export function encodeCpu(state: CpuState): Buffer {
  const { registers, xstate, layout } = state;
  const tail = COMPONENTS + layout.components.length * COMPONENT_SIZE;
  const bytes = Buffer.alloc(tail + xstate.length - LEGACY_SIZE);
  putBase(bytes, state);
  bytes.writeBigUInt64LE(registers[register.fs_base] ?? 0n, FS_BASE);
  bytes.writeBigUInt64LE(registers[register.gs_base] ?? 0n, GS_BASE);
  bytes.writeBigUInt64LE(layout.xcr0, XCR0);
  bytes.writeUInt32LE(xstate.length, XSTATE_SIZE);
  bytes.writeUInt32LE(layout.components.length, COMPONENT_COUNT);
  layout.components.forEach((part, index) => {
    const at = COMPONENTS + index * COMPONENT_SIZE;
    bytes.writeUInt32LE(part.index, at);
    bytes.writeUInt32LE(part.offset, at + 4);
    bytes.writeUInt32LE(part.sizeBytes, at + 8);
  });
  xstate.copy(bytes, tail, LEGACY_SIZE);
  return bytes;
}

/** The layout of 2008 alone. What it has no place for (bases, components behind SSE) is left out. */
export function encodeBaseCpu(state: CpuState): Buffer {
  const bytes = Buffer.alloc(CPU_BASE_SIZE);
  putBase(bytes, state);
  return bytes;
}

/**
 * A whole CPU payload from one of the layout of 2008. The bases of fs and gs are those of the segments that they name; behind
 * FXSAVE all is in its initial state.
 */
export function extendBaseCpu(base: Buffer, segments: Segments): Buffer {
  const extension = Buffer.alloc(COMPONENTS - CPU_BASE_SIZE + HEADER_SIZE);
  const at = (field: number): number => field - CPU_BASE_SIZE;
  const baseNamedBy = (name: RegisterName): bigint =>
    segmentBase(base.readBigUInt64LE(registerOrder.indexOf(name) * 8), segments);
  extension.writeBigUInt64LE(baseNamedBy('fs'), at(FS_BASE));
  extension.writeBigUInt64LE(baseNamedBy('gs'), at(GS_BASE));
  extension.writeBigUInt64LE(LEGACY_COMPONENTS, at(XCR0));
  extension.writeUInt32LE(LEGACY_SIZE + HEADER_SIZE, at(XSTATE_SIZE));
  // XSTATE_BV, the first field of the XSAVE header.
  extension.writeBigUInt64LE(base.readUInt16LE(USED_MATH) === 0 ? 0n : LEGACY_COMPONENTS, at(COMPONENTS));
  return Buffer.concat([base, extension]);
}

function putBase(bytes: Buffer, { registers, debugRegisters, xstate }: CpuState): void {
  registerOrder.forEach((name, index) => {
    bytes.writeBigUInt64LE(registers[register[name]] ?? 0n, index * 8);
  });
  debugRegisters.forEach((value, index) => {
    bytes.writeBigUInt64LE(value, DEBUG_REGISTERS + index * 8);
  });
  bytes.writeUInt16LE(noBreakpoints(debugRegisters[7] ?? 0n) ? 0 : 1, USES_DEBUG);
  bytes.writeUInt16LE(usedComponents(xstate).length === 0 ? 0 : 1, USED_MATH);
  bytes.writeUInt16LE(1, HAS_FXSR);
  xstate.copy(bytes, FPU, 0, LEGACY_SIZE);
}

/** Decodes an untrusted payload; `where` names the record for errors. */
export function decodeCpu(bytes: Buffer, where: string): CpuState {
  const refuse = (what: string): never => {
    throw new ImageError('bad-record', `${where}: ${what}.`);
  };
  if (bytes.length < COMPONENTS) refuse(`has ${bytes.length} bytes, fewer than the ${COMPONENTS} that it must have`);
  const xstateSize = bytes.readUInt32LE(XSTATE_SIZE);
  const componentCount = bytes.readUInt32LE(COMPONENT_COUNT);
  if (xstateSize < LEGACY_SIZE + 64 || xstateSize > MAX_XSTATE_SIZE)
    refuse(`xstate size ${xstateSize} is not possible`);
  if (componentCount > MAX_COMPONENTS) refuse(`${componentCount} xstate components are not possible`);
  const tail = COMPONENTS + componentCount * COMPONENT_SIZE;
  if (bytes.length !== tail + xstateSize - LEGACY_SIZE) refuse('its length does not fit its xstate size');
  const registers = new BigUint64Array(Object.keys(register).length);
  registerOrder.forEach((name, index) => {
    registers[register[name]] = bytes.readBigUInt64LE(index * 8);
  });
  registers[register.fs_base] = bytes.readBigUInt64LE(FS_BASE);
  registers[register.gs_base] = bytes.readBigUInt64LE(GS_BASE);
  const components = Array.from({ length: componentCount }, (_, index) =>
    decodeComponent(bytes, COMPONENTS + index * COMPONENT_SIZE),
  );
  if (components.some((part) => part.index > 62 || part.offset + part.sizeBytes > xstateSize)) {
    refuse('an xstate component lies outside of the state');
  }
  if (new Set(components.map((part) => part.index)).size !== components.length) refuse('a component is there twice');
  const debugRegisters = Array.from({ length: DEBUG_REGISTER_COUNT }, (_, index) =>
    bytes.readBigUInt64LE(DEBUG_REGISTERS + index * 8),
  );
  const usesDebug = noBreakpoints(debugRegisters[7] ?? 0n) ? 0 : 1;
  if (bytes.readUInt16LE(USES_DEBUG) !== usesDebug) refuse('uses_debug does not fit dr7');
  const xstate = Buffer.concat([bytes.subarray(FPU, FPU + LEGACY_SIZE), bytes.subarray(tail)]);
  const usedMath = bytes.readUInt16LE(USED_MATH);
  if (bytes.readUInt16LE(HAS_FXSR) !== 1) refuse('its floating point state is not in the form of FXSAVE');
  if (usedMath > 1) refuse(`used_math is ${usedMath}`);
  // Images of earlier writers say 1 always.
  if (usedMath === 0 && usedComponents(xstate).length > 0) refuse('used_math does not fit the state');
  if (bytes.readUInt16LE(PADDING) !== 0) refuse('its padding is not zero');
  return {
    registers,
    debugRegisters,
    xstate,
    layout: { xcr0: bytes.readBigUInt64LE(XCR0), sizeBytes: xstateSize, components },
  };
}

function decodeComponent(bytes: Buffer, at: number): XstateComponent {
  return { index: bytes.readUInt32LE(at), offset: bytes.readUInt32LE(at + 4), sizeBytes: bytes.readUInt32LE(at + 8) };
}

const TLS_ENTRIES = 3;
const TLS_ARRAY_SIZE = 24;
const THREAD_SIZE = 8 + TLS_ARRAY_SIZE;

/** The three thread-local storage slots of the GDT, as processor descriptors of 8 bytes; all zero when empty. */
export function encodeThread(descriptors: Uint8Array): Buffer {
  const bytes = Buffer.alloc(THREAD_SIZE);
  bytes.writeInt16LE(TLS_ENTRIES, 0);
  bytes.writeInt16LE(TLS_ARRAY_SIZE, 2);
  bytes.writeInt16LE(usedSlots(descriptors), 4);
  bytes.set(descriptors.subarray(0, TLS_ARRAY_SIZE), 8);
  return bytes;
}

const usedSlots = (descriptors: Uint8Array): number =>
  [0, 1, 2].filter((slot) => descriptors.subarray(slot * 8, slot * 8 + 8).some((byte) => byte !== 0)).length;

export function decodeThread(bytes: Buffer, where: string): Uint8Array {
  const fits =
    bytes.length === THREAD_SIZE && bytes.readInt16LE(0) === TLS_ENTRIES && bytes.readInt16LE(2) === TLS_ARRAY_SIZE;
  if (!fits) throw new ImageError('bad-record', `${where}: it is not laid out as a THREAD record.`);
  const descriptors = bytes.subarray(8);
  if (bytes.readInt16LE(4) !== usedSlots(descriptors) || bytes.readInt16LE(6) !== 0) {
    throw new ImageError('bad-record', `${where}: its count of thread areas is wrong.`);
  }
  return descriptors;
}

const CONTEXT_HEADER_SIZE = 8;

/** The LDT, as processor descriptors of 8 bytes. */
export function encodeMemoryContext(localDescriptors: Uint8Array): Buffer {
  const bytes = Buffer.alloc(CONTEXT_HEADER_SIZE + localDescriptors.length);
  bytes.writeInt16LE(DESCRIPTOR_SIZE, 0);
  bytes.writeInt16LE(localDescriptors.length / DESCRIPTOR_SIZE, 2);
  bytes.set(localDescriptors, CONTEXT_HEADER_SIZE);
  return bytes;
}

export function decodeMemoryContext(bytes: Buffer): Buffer {
  const refuse = (what: string): never => {
    throw new ImageError('bad-record', `MM_CONTEXT record: ${what}.`);
  };
  if (bytes.length < CONTEXT_HEADER_SIZE) refuse(`has only ${bytes.length} bytes`);
  const entries = bytes.readInt16LE(2);
  if (bytes.readInt16LE(0) !== DESCRIPTOR_SIZE) refuse('its descriptors do not have 8 bytes');
  if (entries < 0 || entries > MAX_LOCAL_DESCRIPTORS) refuse(`${entries} descriptors are not possible`);
  if (bytes.length !== CONTEXT_HEADER_SIZE + entries * DESCRIPTOR_SIZE) refuse('its length does not fit its count');
  if (bytes.readInt32LE(4) !== 0) refuse('its padding is not zero');
  return bytes.subarray(CONTEXT_HEADER_SIZE);
}
