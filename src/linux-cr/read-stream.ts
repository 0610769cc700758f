/**
 * Reads a stream of 2008, strictly forward, trusting nothing: its order is fixed, so each record must be the one that belongs
 * there. The format has no checksums; what can be held against something else is.
 */
import { type ByteSource, ByteStream } from '../image/byte-stream.ts';
import { isAllZero } from '../image/frame.ts';
import { badRecord, cutImage, damagedImage, notAnImage } from '../image/image-errors.ts';
import { recordName } from '../image/record-types.ts';
import { ImageError } from '../support/errors.ts';
import {
  ADDRESS_SIZE,
  CHECKPOINT_MAGIC_HEAD,
  CHECKPOINT_MAGIC_TAIL,
  CR_CTX_CKPT,
  CR_HDR,
  CR_HEADER_SIZE,
  CR_SIZE,
  CR_VERSION,
  CR_VMA,
  type CrFdEntry,
  type CrHead,
  type CrVma,
  decodeFdData,
  decodeFdEntry,
  decodeHead,
  decodeMm,
  decodeTask,
  decodeVma,
  mmFields,
  PAGE,
  PATH_MAX,
  TASK_COMM_LEN,
  TLS_ARRAY_SIZE,
} from './layout.ts';
import type { LinuxCrStream, PageSpan, StreamDescription, StreamVma } from './stream.ts';

/** The end of the memory of a 32-bit program: IA32_PAGE_OFFSET of asm/page_64_types.h. */
const MEMORY_END = 0xffff_e000;
const MAX_PID = 1 << 22;
const MAX_DESCRIPTOR = 2 ** 30;
const DESCRIPTOR_SIZE = 8;
const MAX_LOCAL_DESCRIPTORS = 8192;
/** Of page data that is only passed over. */
const STEP = 1024 * 1024;
const SIGCHLD = 17;
/** TASK_RUNNING, TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE. */
const LAST_LIVING_STATE = 2;
/** A date of the year 275760, the last that can be told. */
const MAX_TIME = 8.64e12;

interface Record {
  readonly offset: number;
  readonly parent: number;
  readonly payload: Buffer;
}

/** Page data is passed over: where the source cannot skip, it is read and dropped. */
class RecordStream {
  readonly #stream: ByteStream;
  records = 0;

  constructor(source: ByteSource) {
    this.#stream = new ByteStream(source);
  }

  get position(): number {
    return this.#stream.position;
  }

  /** The next record, of this type and with a payload from `least` to `most` bytes. */
  take(type: number, least: number, most = least): Record {
    const offset = this.position;
    const header = Buffer.from(this.#header());
    const found = header.readInt16LE(0);
    const length = header.readInt16LE(2);
    if (found !== type) {
      throw badRecord(`Record at byte ${offset}`, `it is ${nameOf(found)} where ${nameOf(type)} belongs`, offset);
    }
    if (length < least || length > most) throw badRecord(labelOf(type, offset), `its length is ${length}`, offset);
    this.records += 1;
    return { offset, parent: header.readUInt32LE(4), payload: this.bytes(length) };
  }

  #header(): Uint8Array {
    const bytes = new Uint8Array(CR_HEADER_SIZE);
    const offset = this.position;
    const length = this.#stream.tryFill(bytes);
    if (length < bytes.length) throw cutImage(offset + length);
    return bytes;
  }

  bytes(length: number): Buffer {
    const bytes = this.#stream.take(length);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  pass(length: number): void {
    if (this.#stream.canSkip) this.#stream.skip(length);
    else for (let left = length; left > 0; left -= STEP) this.#stream.take(Math.min(left, STEP));
  }

  expectEnd(): void {
    const end = this.position;
    if (this.#stream.tryFill(new Uint8Array(1)) > 0)
      throw damagedImage(`something follows its end at byte ${end}`, end);
  }
}

const nameOf = (type: number): string =>
  Object.values(CR_HDR).some((known) => known === type) ? recordName(type) : `type ${type}`;
const labelOf = (type: number, offset: number): string => `${nameOf(type)} record at byte ${offset}`;

/** Throws ImageError for what is no such stream, or a cut or damaged one. */
export function readLinuxCr(source: ByteSource): LinuxCrStream {
  const stream = new RecordStream(source);
  const head = readHead(stream);
  const comm = readTask(stream);
  const { pid, fields, mapCount, offset } = readMm(stream);
  const vmas = readVmas(stream, mapCount);
  const memoryContext = readMemoryContext(stream);
  const { files, descriptions } = readFiles(stream, pid);
  const thread = readThread(stream, pid);
  const cpu = ofTask(stream.take(CR_HDR.CPU, CR_SIZE.CPU), CR_HDR.CPU, pid);
  const tail = stream.take(CR_HDR.TAIL, CR_SIZE.TAIL);
  if (tail.payload.readBigUInt64LE(0) !== CHECKPOINT_MAGIC_TAIL || tail.parent !== 0) {
    throw badRecord(labelOf(CR_HDR.TAIL, tail.offset), 'it has another magic number', tail.offset);
  }
  stream.expectEnd();
  return {
    head,
    pid,
    comm,
    mm: { offset, fields },
    vmas,
    memoryContext,
    files,
    descriptions,
    thread,
    cpu,
    records: stream.records,
    sizeBytes: stream.position,
  };
}

function readHead(stream: RecordStream): CrHead {
  const { payload, parent, offset } = stream.take(CR_HDR.HEAD, CR_SIZE.HEAD);
  const head = decodeHead(payload);
  if (head.magic !== CHECKPOINT_MAGIC_HEAD) throw notAnImage('its first record has another magic number');
  const label = labelOf(CR_HDR.HEAD, offset);
  if (head.rev !== CR_VERSION) {
    throw new ImageError(
      'newer-format',
      `This stream has revision ${head.rev} of its format; only ${CR_VERSION} is read.`,
      {
        offset,
        remedy: 'Export the image again with --format linux-cr-v8.',
      },
    );
  }
  if (parent !== 0) throw badRecord(label, 'it has a parent', offset);
  if (head.flags !== BigInt(CR_CTX_CKPT)) throw badRecord(label, `its flags are ${head.flags}`, offset);
  if (head.time > MAX_TIME) throw badRecord(label, 'its time is beyond all calendars', offset);
  return head;
}

/** The name of the task, which stands in a record of its own. */
function readTask(stream: RecordStream): string {
  const { payload, parent, offset } = stream.take(CR_HDR.TASK, CR_SIZE.TASK);
  const label = labelOf(CR_HDR.TASK, offset);
  const task = decodeTask(payload);
  if (parent !== 0) throw badRecord(label, 'it has a parent', offset);
  if (task.state > LAST_LIVING_STATE) throw badRecord(label, `its state is ${task.state}`, offset);
  if (task.exitState !== 0 || task.exitCode !== 0) throw badRecord(label, 'it is of a task that has ended', offset);
  if (task.exitSignal !== SIGCHLD) throw badRecord(label, `its exit signal is ${task.exitSignal}, not SIGCHLD`, offset);
  if (task.commLength < 1 || task.commLength > TASK_COMM_LEN) {
    throw badRecord(label, `the length of its name is ${task.commLength}`, offset);
  }
  refusePadding(payload.subarray(20), label, offset);
  const name = stream.take(CR_HDR.STRING, task.commLength);
  const end = name.payload.indexOf(0);
  if (end === -1 || name.parent !== 0) {
    throw badRecord(labelOf(CR_HDR.STRING, name.offset), 'it is no name of a task', name.offset);
  }
  return name.payload.subarray(0, end).toString('latin1');
}

/** The original left in its padding whatever was there before; whoever writes such a stream today has zeros. */
function refusePadding(bytes: Uint8Array, label: string, offset: number): void {
  if (!isAllZero(bytes)) throw badRecord(label, 'its padding is not zero', offset);
}

function readMm(stream: RecordStream): {
  pid: number;
  offset: number;
  mapCount: number;
  fields: LinuxCrStream['mm']['fields'];
} {
  const { payload, parent: pid, offset } = stream.take(CR_HDR.MM, CR_SIZE.MM);
  const label = labelOf(CR_HDR.MM, offset);
  const { objref, mapCount, fields } = decodeMm(payload);
  if (pid < 1 || pid > MAX_PID) throw badRecord(label, `its parent ${pid} is no process id`, offset);
  if (objref !== 0) throw badRecord(label, 'it is shared', offset);
  if (mapCount > MEMORY_END / PAGE) throw badRecord(label, `it has ${mapCount} mappings`, offset);
  const far = mmFields.find((name) => fields[name] > MEMORY_END);
  if (far !== undefined) throw badRecord(label, `its ${far} lies where no 32-bit program has memory`, offset);
  const pairs = [
    ['startCode', 'endCode'],
    ['startData', 'endData'],
    ['startBrk', 'brk'],
    ['argStart', 'argEnd'],
    ['envStart', 'envEnd'],
  ] as const;
  const reversed = pairs.find(([start, end]) => fields[start] > fields[end]);
  if (reversed !== undefined) throw badRecord(label, `its ${reversed[0]} lies behind its ${reversed[1]}`, offset);
  return { pid, offset, mapCount, fields };
}

function readVmas(stream: RecordStream, count: number): StreamVma[] {
  const vmas: StreamVma[] = [];
  for (let index = 0; index < count; index++) {
    const { payload, parent, offset } = stream.take(CR_HDR.VMA, CR_SIZE.VMA);
    const label = labelOf(CR_HDR.VMA, offset);
    const vma = decodeVma(payload);
    const fault = vmaFault(vma, vmas.at(-1)?.end ?? 0);
    if (parent !== 0) throw badRecord(label, 'it has a parent', offset);
    if (fault !== undefined) throw badRecord(label, fault, offset);
    refusePadding(payload.subarray(4, 8), label, offset);
    const name = vma.type === CR_VMA.FILE ? readName(stream) : undefined;
    vmas.push({ ...vma, offset, name, spans: readPages(stream, vma) });
  }
  return vmas;
}

function vmaFault({ type, start, end }: CrVma, covered: number): string | undefined {
  if (type !== CR_VMA.ANON && type !== CR_VMA.FILE) return `its type is ${type}`;
  if (start % PAGE !== 0 || end % PAGE !== 0) return 'it does not consist of pages';
  if (end <= start) return 'it ends before it begins';
  if (end > MEMORY_END) return 'it lies where no 32-bit program has memory';
  return start < covered ? 'it overlaps the one before it, or does not come behind it' : undefined;
}

/** A path, with the zero at its end. */
function readName(stream: RecordStream): string {
  const { payload, parent, offset } = stream.take(CR_HDR.FNAME, 2, PATH_MAX);
  const label = labelOf(CR_HDR.FNAME, offset);
  const text = payload.subarray(0, -1);
  if (parent !== 0) throw badRecord(label, 'it has a parent', offset);
  if (payload.at(-1) !== 0 || text.includes(0)) throw badRecord(label, 'it is no name that ends with a zero', offset);
  const name = text.toString('utf8');
  if (!Buffer.from(name).equals(text)) throw badRecord(label, 'it is not UTF-8', offset);
  return name;
}

/** Chunks of addresses and pages; one of no pages ends the mapping. Addresses ascend over all of them. */
function readPages(stream: RecordStream, { start, end }: CrVma): PageSpan[] {
  const spans: PageSpan[] = [];
  let next = start;
  for (;;) {
    const { payload, parent, offset } = stream.take(CR_HDR.PGARR, CR_SIZE.PGARR);
    const label = labelOf(CR_HDR.PGARR, offset);
    if (parent !== 0) throw badRecord(label, 'it has a parent', offset);
    const pages = payload.readBigUInt64LE(0);
    if (pages === 0n) return spans;
    if (pages > BigInt((end - next) / PAGE)) {
      throw badRecord(label, `it has ${pages} pages, more than are left of its mapping`, offset);
    }
    const addresses = stream.bytes(Number(pages) * ADDRESS_SIZE);
    let position = stream.position;
    for (let at = 0; at < addresses.length; at += ADDRESS_SIZE, position += PAGE) {
      const address = addresses.readUInt32LE(at);
      if (address % PAGE !== 0 || address < next || address >= end) {
        throw badRecord(label, `its page 0x${address.toString(16)} does not belong there`, offset);
      }
      addPage(spans, address, position);
      next = address + PAGE;
    }
    stream.pass(Number(pages) * PAGE);
  }
}

function addPage(spans: PageSpan[], address: number, position: number): void {
  const last = spans.at(-1);
  const follows =
    last !== undefined &&
    last.address + last.pages * PAGE === address &&
    last.position + last.pages * PAGE === position;
  if (follows) spans[spans.length - 1] = { ...last, pages: last.pages + 1 };
  else spans.push({ address, pages: 1, position });
}

function readMemoryContext(stream: RecordStream): LinuxCrStream['memoryContext'] {
  const { payload, parent, offset } = stream.take(CR_HDR.MM_CONTEXT, CR_SIZE.MM_CONTEXT);
  const label = labelOf(CR_HDR.MM_CONTEXT, offset);
  const count = payload.readInt16LE(2);
  if (parent !== 0) throw badRecord(label, 'its parent is not the memory', offset);
  if (payload.readInt16LE(0) !== DESCRIPTOR_SIZE) throw badRecord(label, 'its descriptors do not have 8 bytes', offset);
  if (count < 0 || count > MAX_LOCAL_DESCRIPTORS) throw badRecord(label, `it has ${count} descriptors`, offset);
  refusePadding(payload.subarray(4), label, offset);
  return { offset, payload: Buffer.concat([payload, stream.bytes(count * DESCRIPTOR_SIZE)]) };
}

function readFiles(stream: RecordStream, pid: number): Pick<LinuxCrStream, 'files' | 'descriptions'> {
  const record = ofTask(stream.take(CR_HDR.FILES, CR_SIZE.FILES), CR_HDR.FILES, pid);
  const label = labelOf(CR_HDR.FILES, record.offset);
  const count = record.payload.readUInt32LE(4);
  if (record.payload.readUInt32LE(0) !== 0) throw badRecord(label, 'it is shared', record.offset);
  if (count > MAX_DESCRIPTOR) throw badRecord(label, `it has ${count} descriptors`, record.offset);
  const entries: CrFdEntry[] = [];
  const descriptions = new Map<number, StreamDescription>();
  for (let index = 0; index < count; index++) {
    const entry = readFdEntry(stream, entries.at(-1)?.fd ?? -1);
    entries.push(entry);
    if (!descriptions.has(entry.objref)) descriptions.set(entry.objref, readDescription(stream, entry.objref));
  }
  return { files: { offset: record.offset, entries }, descriptions: [...descriptions.values()] };
}

function readFdEntry(stream: RecordStream, before: number): CrFdEntry {
  const { payload, parent, offset } = stream.take(CR_HDR.FD_ENT, CR_SIZE.FD_ENT);
  const label = labelOf(CR_HDR.FD_ENT, offset);
  const entry = decodeFdEntry(payload);
  if (parent !== 0) throw badRecord(label, 'its parent is not the table', offset);
  if (entry.objref === 0 || entry.objref > 0x7fff_ffff) throw badRecord(label, `its object is ${entry.objref}`, offset);
  if (entry.fd <= before || entry.fd > MAX_DESCRIPTOR) {
    throw badRecord(label, `descriptor ${entry.fd} is not in ascending order`, offset);
  }
  if (entry.closeOnExec > 1) throw badRecord(label, `its close_on_exec is ${entry.closeOnExec}`, offset);
  refusePadding(payload.subarray(12), label, offset);
  return entry;
}

function readDescription(stream: RecordStream, objref: number): StreamDescription {
  const { payload, parent, offset } = stream.take(CR_HDR.FD_DATA, CR_SIZE.FD_DATA);
  if (parent !== objref) {
    throw badRecord(labelOf(CR_HDR.FD_DATA, offset), `its parent is ${parent}, not object ${objref}`, offset);
  }
  return { ...decodeFdData(payload), objref, offset, name: readName(stream) };
}

function readThread(stream: RecordStream, pid: number): LinuxCrStream['thread'] {
  const { offset, payload } = ofTask(stream.take(CR_HDR.THREAD, CR_SIZE.THREAD), CR_HDR.THREAD, pid);
  // Always there: the original wrote it always, and read it only where a thread area was in use.
  return { offset, payload: Buffer.concat([payload, stream.bytes(TLS_ARRAY_SIZE)]) };
}

function ofTask(record: Record, type: number, pid: number): Record {
  if (record.parent === pid) return record;
  throw badRecord(labelOf(type, record.offset), `its parent is ${record.parent}, not process ${pid}`, record.offset);
}
