/** Export as an ELF core file, for debuggers: elf(5), core(5). One process; 64-bit programs as ELF64, 32-bit ones as ELF32. */
import { componentName } from '../arch/x86/xstate.ts';
import { processesOf } from '../image/processes.ts';
import { ELF, elfAbi } from '../kernel/abi/elf.ts';
import { structOf } from '../kernel/struct.ts';
import type { PageStore } from '../pages/page-store.ts';
import { QuicksaveError } from '../support/errors.ts';
import { coreNotes, fieldOf } from './core-notes.ts';
import { coreMemory, type Segment } from './core-segments.ts';
import type { ExportFormat, ExportSink } from './export.ts';

const PAGE = 4096;
const { structs } = elfAbi;
const class64 = {
  number: ELF.ELFCLASS64,
  machine: ELF.EM_X86_64,
  header: structOf(structs.Elf64_Ehdr),
  segment: structOf(structs.Elf64_Phdr),
  section: structOf(structs.Elf64_Shdr),
};
const class32 = {
  number: ELF.ELFCLASS32,
  machine: ELF.EM_386,
  header: structOf(structs.Elf32_Ehdr),
  segment: structOf(structs.Elf32_Phdr),
  section: structOf(structs.Elf32_Shdr),
};
type ElfClass = typeof class64 | typeof class32;

export const core: ExportFormat = {
  name: 'core',
  takesProcess: true,
  write: ({ model, pages }, sink, pid) => {
    const processes = processesOf(model);
    const process = processes.find(({ task }) => task.pid === pid);
    if (process === undefined)
      throw noProcess(
        pid,
        processes.map(({ task }) => task.pid),
      );
    const store = pages(process.memoryObject);
    const { segments, files } = coreMemory(process, model, store, pages);
    const notes = coreNotes({ process, files, arguments: argumentsOf(process.aspects, store) });
    const elf = process.task.addressBits === 32 ? class32 : class64;
    const head = headers(elf, notes.bytes, segments);
    sink.write(head);
    let written = 0;
    for (const segment of segments) written += writeSegment(segment, sink);
    const sizeBytes = head.length + segments.reduce((sum, one) => sum + fileSize(one), 0);
    const losses = [
      ...(files.length === 0 ? [] : ['unchanged pages of mapped files: a debugger reads them from the files']),
      ...[...notes.leftComponents].map((index) => `${componentName(index)}, for which core files have no place`),
    ];
    return { pages: written, sizeBytes, losses };
  },
};

function noProcess(pid: number, pids: readonly number[]): QuicksaveError {
  return new QuicksaveError('no-such-process', `The image has no process ${pid}.`, {
    remedy: `It has ${pids.join(', ')}.`,
  });
}

const MAX_ARGUMENTS = 80;

function argumentsOf(aspects: Readonly<Record<string, unknown>>, pages: PageStore): Buffer {
  const start = fieldOf(aspects['memoryMapFields'], 'argStart');
  const end = fieldOf(aspects['memoryMapFields'], 'argEnd');
  if (typeof start !== 'number' || typeof end !== 'number' || end <= start) return Buffer.alloc(0);
  const text = pages.bytes(start, Math.min(end - start, MAX_ARGUMENTS));
  // The last NUL ends the arguments.
  return text.at(-1) === 0 ? text.subarray(0, -1) : text;
}

const fileSize = ({ start, end, content }: Segment): number => (content === undefined ? 0 : end - start);

/** Everything before the first segment: headers and notes, up to the end of a page. */
function headers(elf: ElfClass, notes: Buffer, segments: readonly Segment[]): Buffer {
  const count = segments.length + 1;
  const tableAt = elf.header.size;
  // More program headers than 16 bits count: the number stands in a section header (elf(5), PN_XNUM).
  const isLong = count >= ELF.PN_XNUM;
  const sectionAt = tableAt + count * elf.segment.size;
  const notesAt = sectionAt + (isLong ? elf.section.size : 0);
  const begin = Math.ceil((notesAt + notes.length) / PAGE) * PAGE;
  const head = Buffer.alloc(begin);
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  elf.header.write(view, 0, {
    e_ident: Buffer.from([0x7f, 0x45, 0x4c, 0x46, elf.number, ELF.ELFDATA2LSB, ELF.EV_CURRENT]),
    e_type: ELF.ET_CORE,
    e_machine: elf.machine,
    e_version: ELF.EV_CURRENT,
    e_phoff: tableAt,
    e_shoff: isLong ? sectionAt : 0,
    e_ehsize: elf.header.size,
    e_phentsize: elf.segment.size,
    e_phnum: isLong ? ELF.PN_XNUM : count,
    e_shentsize: isLong ? elf.section.size : 0,
    e_shnum: isLong ? 1 : 0,
  });
  if (isLong) elf.section.write(view, sectionAt, { sh_info: count });
  elf.segment.write(view, tableAt, { p_type: ELF.PT_NOTE, p_offset: notesAt, p_filesz: notes.length, p_align: 4 });
  notes.copy(head, notesAt);
  let offset = begin;
  segments.forEach((segment, index) => {
    elf.segment.write(view, tableAt + (index + 1) * elf.segment.size, {
      p_type: ELF.PT_LOAD,
      p_flags: elfFlags(segment.protection),
      p_offset: offset,
      p_vaddr: segment.start,
      p_filesz: fileSize(segment),
      p_memsz: segment.end - segment.start,
      p_align: PAGE,
    });
    offset += fileSize(segment);
  });
  return head;
}

/** The bits of PROT_READ and PROT_EXEC are the other way round. */
const elfFlags = (protection: number): number =>
  (protection & 1 ? ELF.PF_R : 0) | (protection & 2 ? ELF.PF_W : 0) | (protection & 4 ? ELF.PF_X : 0);

function writeSegment({ start, end, content }: Segment, sink: ExportSink): number {
  if (content === undefined) return 0;
  let pages = 0;
  let zeros = 0;
  for (let address = start; address < end; address += PAGE) {
    const page = content(address);
    if (page === undefined) zeros += PAGE;
    else {
      if (zeros > 0) sink.zeros(zeros);
      zeros = 0;
      sink.write(page);
      pages++;
    }
  }
  if (zeros > 0) sink.zeros(zeros);
  return pages;
}
