/**
 * Every record of a stream of 2008 against C structs written from the tables of DESIGN ("The 2008 records"), compiled as i386 has
 * them. Every place of ours is found by encoding with one field changed, not read from the source.
 */
import { describe, expect, it } from 'vitest';
import {
  CHECKPOINT_MAGIC_HEAD,
  CHECKPOINT_MAGIC_TAIL,
  CR_HDR,
  CR_HEADER_SIZE,
  CR_SIZE,
  encodeFdData,
  encodeFdEntry,
  encodeFiles,
  encodeHead,
  encodeMm,
  encodePageCount,
  encodeRecord,
  encodeTail,
  encodeTask,
  encodeVma,
  mmFields,
} from '../../src/linux-cr/layout.ts';
import { factsInC, hasCompiler } from './c-program.ts';
import { changedPlace, type Place, placesInC } from './record-probe.ts';

const headers = ['stdint.h'];
const aligned = '__attribute__((aligned(8)))';
const structs = [
  'struct cr_hdr { int16_t type, len; uint32_t parent; };',
  `struct cr_hdr_head {
    uint64_t magic; uint16_t major, minor, patch, rev; uint64_t time, flags; char release[64], version[64], machine[64];
  } ${aligned};`,
  `struct cr_hdr_task { uint32_t state, exit_state, exit_code, exit_signal; int32_t task_comm_len; } ${aligned};`,
  `struct cr_hdr_mm {
    uint32_t objref, map_count;
    uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end;
  } ${aligned};`,
  `struct cr_hdr_vma {
    uint32_t vma_type, padding; uint64_t vm_start, vm_end, vm_page_prot, vm_flags, vm_pgoff;
  } ${aligned};`,
  `struct cr_hdr_pgarr { uint64_t nr_pages; } ${aligned};`,
  `struct cr_hdr_mm_context { int16_t ldt_entry_size, nldt; } ${aligned};`,
  `struct cr_hdr_files { uint32_t objref, nfds; } ${aligned};`,
  `struct cr_hdr_fd_ent { uint32_t objref; int32_t fd; uint32_t close_on_exec; } ${aligned};`,
  `struct cr_hdr_fd_data { uint16_t fd_type, f_mode; uint32_t f_flags; uint64_t f_pos, f_version; } ${aligned};`,
  `struct cr_hdr_thread { int16_t gdt_entry_tls_entries, sizeof_tls_array, ntls; } ${aligned};`,
  `struct cr_hdr_cpu {
    uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
    uint64_t ds, es, fs, gs, debugreg[8];
    uint16_t uses_debug, used_math, has_fxsr, padding;
    uint8_t xstate[512];
  } ${aligned};`,
  `struct cr_hdr_tail { uint64_t magic; } ${aligned};`,
];

const U16 = 0xffff;
const U32 = 0xffff_ffff;
const U64 = 0xffff_ffff_ffff_ffffn;
/** The largest number of which every byte is changed and that a double holds. */
const ADDRESS_BYTES = 0x0001_0101_0101_0101;

const head = { major: 0, minor: 0, patch: 0, rev: 0, time: 0, flags: 0n, release: '', version: '', machine: '' };
const task = { state: 0, exitState: 0, exitCode: 0, exitSignal: 0, commLength: 0 };
const noFields = Object.fromEntries(mmFields.map((name) => [name, 0])) as Record<(typeof mmFields)[number], number>;
const mm = { objref: 0, mapCount: 0, fields: noFields };
const vma = { type: 0, start: 0, end: 0, pageProt: 0n, flags: 0n, pageOffset: 0n };
const entry = { objref: 0, fd: 0, closeOnExec: 0 };
const data = { type: 0, mode: 0, flags: 0, position: 0n, version: 0n };

/** `startCode` as `start_code`. */
const inC = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const probe =
  <T>(encode: (value: T) => Uint8Array, none: T) =>
  (changes: Partial<T>): Place =>
    changedPlace(encode(none), encode({ ...none, ...changes }));

const ofHead = probe(encodeHead, head);
const ofTask = probe(encodeTask, task);
const ofMm = probe(encodeMm, mm);
const ofVma = probe(encodeVma, vma);
const ofEntry = probe(encodeFdEntry, entry);
const ofData = probe(encodeFdData, data);
const text = 'x'.repeat(64);
/** A number of 64 bits that a double holds changes its first seven bytes: the eighth is always zero in an address or a time. */
const wide = ({ offset, size }: Place): Place => ({ offset, size: size === 7 ? 8 : size });

const records: Record<string, Record<string, Place>> = {
  cr_hdr_head: {
    major: ofHead({ major: U16 }),
    minor: ofHead({ minor: U16 }),
    patch: ofHead({ patch: U16 }),
    rev: ofHead({ rev: U16 }),
    time: wide(ofHead({ time: ADDRESS_BYTES })),
    flags: ofHead({ flags: U64 }),
    release: ofHead({ release: text }),
    version: ofHead({ version: text }),
    machine: ofHead({ machine: text }),
  },
  cr_hdr_task: {
    state: ofTask({ state: U32 }),
    exit_state: ofTask({ exitState: U32 }),
    exit_code: ofTask({ exitCode: U32 }),
    exit_signal: ofTask({ exitSignal: U32 }),
    task_comm_len: ofTask({ commLength: -1 }),
  },
  cr_hdr_mm: {
    objref: ofMm({ objref: U32 }),
    map_count: ofMm({ mapCount: U32 }),
    ...Object.fromEntries(
      mmFields.map((name) => [inC(name), wide(ofMm({ fields: { ...noFields, [name]: ADDRESS_BYTES } }))]),
    ),
  },
  cr_hdr_vma: {
    vma_type: ofVma({ type: U32 }),
    vm_start: wide(ofVma({ start: ADDRESS_BYTES })),
    vm_end: wide(ofVma({ end: ADDRESS_BYTES })),
    vm_page_prot: ofVma({ pageProt: U64 }),
    vm_flags: ofVma({ flags: U64 }),
    vm_pgoff: ofVma({ pageOffset: U64 }),
  },
  cr_hdr_pgarr: { nr_pages: wide(changedPlace(encodePageCount(0), encodePageCount(ADDRESS_BYTES))) },
  cr_hdr_files: {
    objref: changedPlace(encodeFiles(0, 0), encodeFiles(U32, 0)),
    nfds: changedPlace(encodeFiles(0, 0), encodeFiles(0, U32)),
  },
  cr_hdr_fd_ent: {
    objref: ofEntry({ objref: U32 }),
    fd: ofEntry({ fd: -1 }),
    close_on_exec: ofEntry({ closeOnExec: U32 }),
  },
  cr_hdr_fd_data: {
    fd_type: ofData({ type: U16 }),
    f_mode: ofData({ mode: U16 }),
    f_flags: ofData({ flags: U32 }),
    f_pos: ofData({ position: U64 }),
    f_version: ofData({ version: U64 }),
  },
};

describe('a stream of 2008', () => {
  it.for(Object.keys(records))('has every field of %s where C has it', (name, context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const places = records[name] ?? {};
    expect(places).toEqual(placesInC(headers, structs, `struct ${name}`, Object.keys(places)));
  });

  it('has a header of 8 bytes before each payload, with the payload alone in its length', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const bytes = encodeRecord(CR_HDR.TAIL, 0x1234_5678, new Uint8Array(12).fill(7));
    const places = placesInC(headers, structs, 'struct cr_hdr', ['type', 'len', 'parent']);
    expect(bytes.readInt16LE(places['type']?.offset)).toBe(5001);
    expect(bytes.readInt16LE(places['len']?.offset)).toBe(12);
    expect(bytes.readUInt32LE(places['parent']?.offset)).toBe(0x1234_5678);
    expect(bytes.subarray(CR_HEADER_SIZE).every((byte) => byte === 7)).toBe(true);
    expect(bytes).toHaveLength(CR_HEADER_SIZE + 12);
  });

  it('has records of the sizes that C gives them', (context) => {
    if (!hasCompiler()) context.skip('gcc is not installed');
    const names = Object.keys(CR_SIZE) as (keyof typeof CR_SIZE)[];
    const sizes = names.map((name) => `sizeof(struct cr_hdr_${name.toLowerCase()})`);
    const facts = factsInC(headers, structs, [...sizes, 'sizeof(struct cr_hdr)']);
    expect(names.map((name) => Number(facts.get(`sizeof(struct cr_hdr_${name.toLowerCase()})`)))).toEqual(
      names.map((name) => CR_SIZE[name]),
    );
    expect(Number(facts.get('sizeof(struct cr_hdr)'))).toBe(CR_HEADER_SIZE);
  });

  it('has the sizes, numbers and magic numbers that DESIGN gives', () => {
    expect(CR_SIZE).toMatchObject({ HEAD: 224, TASK: 24, MM: 96, VMA: 48, PGARR: 8, MM_CONTEXT: 8, FILES: 8 });
    expect(CR_SIZE).toMatchObject({ FD_ENT: 16, FD_DATA: 24, THREAD: 8, CPU: 784 });
    expect(CHECKPOINT_MAGIC_HEAD).toBe(0x00feed0cc0a2d200n);
    expect(CHECKPOINT_MAGIC_TAIL).toBe(0x002d2a0cc0deef00n);
    expect(encodeHead(head).readBigUInt64LE(0)).toBe(CHECKPOINT_MAGIC_HEAD);
    expect(encodeTail().readBigUInt64LE(0)).toBe(CHECKPOINT_MAGIC_TAIL);
  });
});
