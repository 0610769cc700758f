/** Structs of the running kernel, read where they are: by its own type information, with {@link KernelMemory}. */
import type { LocalFd } from '../support/brand.ts';
import { CpuValues } from './calls/cpu-values.ts';
import { KernelMemory } from './calls/kernel-memory.ts';
import { VmaIterator } from './calls/vma-flags.ts';
import { KernelTypes } from './kernel-types.ts';

/** This kernel has no such struct or member, or it could not be read: what it would tell is not known. */
export class UnknownKernelObject extends Error {}

const POINTER_SIZE = 8;
/** A longer list is none. */
const MAX_ENTRIES = 1 << 20;

export class KernelStruct {
  readonly address: bigint;
  readonly #name: string;
  readonly #bytes: Buffer;
  readonly #types: KernelTypes;

  constructor(name: string, address: bigint, bytes: Buffer, types: KernelTypes) {
    this.#name = name;
    this.address = address;
    this.#bytes = bytes;
    this.#types = types;
  }

  /** Of 32 bits. */
  u32(field: string): number {
    return this.#bytes.readUInt32LE(this.offsetOf(field));
  }

  u32s(field: string, count: number): number[] {
    const start = this.offsetOf(field);
    return Array.from({ length: count }, (_, index) => this.#bytes.readUInt32LE(start + 4 * index));
  }

  /** An array of bytes, or of anything else as it lies there. */
  bytesOf(field: string, sizeBytes: number): Buffer {
    const start = this.offsetOf(field);
    return this.#bytes.subarray(start, start + sizeBytes);
  }

  u8(field: string): number {
    return this.#bytes.readUInt8(this.offsetOf(field));
  }

  /** Of 64 bits: a pointer, a list's first entry. */
  u64(field: string): bigint {
    return this.#bytes.readBigUInt64LE(this.offsetOf(field));
  }

  /** A bit field of one bit, or a bool. */
  isSet(field: string): boolean {
    const { bitOffset, bits } = this.#place(field);
    const byte = this.#bytes.readUInt8(bitOffset >>> 3);
    return bits === 0 ? byte !== 0 : ((byte >>> (bitOffset & 7)) & 1) !== 0;
  }

  /** Whether a `struct list_head` in it has no entries. */
  isEmptyList(field: string): boolean {
    return this.u64(field) === this.address + BigInt(this.offsetOf(field));
  }

  has(field: string): boolean {
    return this.#types.fieldOf(this.#name, field) !== undefined;
  }

  offsetOf(field: string): number {
    return this.#place(field).bitOffset >>> 3;
  }

  #place(field: string): { readonly bitOffset: number; readonly bits: number } {
    const place = this.#types.fieldOf(this.#name, field);
    if (place === undefined) throw new UnknownKernelObject(`struct ${this.#name} has no ${field}`);
    return place;
  }
}

export class KernelObjects {
  static #opened: KernelObjects | undefined;
  readonly #memory: KernelMemory;
  readonly #types: KernelTypes;
  #cpuOffsets: readonly bigint[] | undefined;
  /** How many pid namespaces are above ours. */
  #level: number | undefined;

  private constructor(memory: KernelMemory, types: KernelTypes) {
    this.#memory = memory;
    this.#types = types;
  }

  /** Undefined where the kernel does not show them, or not to us. Takes some 7 ms the first time. */
  static tryOpen(): KernelObjects | undefined {
    if (KernelObjects.#opened !== undefined) return KernelObjects.#opened;
    const memory = KernelMemory.tryOpen();
    if (memory === undefined) return undefined;
    const types = KernelTypes.tryRead();
    if (types === undefined) {
      memory.close();
      return undefined;
    }
    KernelObjects.#opened = new KernelObjects(memory, types);
    return KernelObjects.#opened;
  }

  /** For the caller to close. Undefined where the kernel has no iterator over mappings. */
  tryOpenVmaIterator(): VmaIterator | undefined {
    const at = (struct: string, field: string): number | undefined => this.#types.fieldOf(struct, field)?.bitOffset;
    const [start, end, flags] = ['vm_start', 'vm_end', 'vm_flags'].map((field) => at('vm_area_struct', field));
    const sequence = at('bpf_iter_meta', 'seq');
    const iterator = this.#types.functionNumber('bpf_iter_task_vma');
    if (start === undefined || end === undefined || flags === undefined) return undefined;
    if (sequence === undefined || iterator === undefined) return undefined;
    return VmaIterator.tryOpen({ start: start / 8, end: end / 8, flags: flags / 8, sequence: sequence / 8, iterator });
  }

  /** Throws {@link UnknownKernelObject}, as all of these do. */
  struct(name: string, address: bigint): KernelStruct {
    const size = this.#types.sizeOf(name);
    const bytes = size === undefined ? undefined : this.#memory.tryRead(address, size);
    if (bytes === undefined) throw new UnknownKernelObject(`struct ${name} cannot be read`);
    return new KernelStruct(name, address, bytes, this.#types);
  }

  /** One member of 64 bits, of a struct that is too large to be read whole. */
  u64(name: string, address: bigint, field: string): bigint {
    return this.pointer(address + BigInt(this.offsetOf(name, field)));
  }

  offsetOf(name: string, field: string): number {
    const place = this.#types.fieldOf(name, field);
    if (place === undefined) throw new UnknownKernelObject(`struct ${name} has no ${field}`);
    return place.bitOffset >>> 3;
  }

  pointers(address: bigint, count: number): bigint[] {
    const bytes = this.#memory.tryRead(address, count * POINTER_SIZE);
    if (bytes === undefined) throw new UnknownKernelObject('an array of pointers cannot be read');
    return Array.from({ length: count }, (_, index) => bytes.readBigUInt64LE(index * POINTER_SIZE));
  }

  /** In bytes. */
  sizeOf(name: string): number {
    const size = this.#types.sizeOf(name);
    if (size === undefined) throw new UnknownKernelObject(`there is no struct ${name}`);
    return size;
  }

  /** Undefined if there is no memory. */
  tryBytes(address: bigint, sizeBytes: number): Buffer | undefined {
    return this.#memory.tryRead(address, sizeBytes);
  }

  bytes(address: bigint, sizeBytes: number): Buffer {
    const bytes = this.#memory.tryRead(address, sizeBytes);
    if (bytes === undefined) throw new UnknownKernelObject('memory cannot be read');
    return bytes;
  }

  pointer(address: bigint): bigint {
    return this.pointers(address, 1)[0] ?? 0n;
  }

  /** The structs `name` in the list (`struct list_head`) that begins in `head`, by their member `link`: where they are. */
  addressesIn(head: KernelStruct, field: string, name: string, link: string): bigint[] {
    const end = head.address + BigInt(head.offsetOf(field));
    const back = BigInt(this.offsetOf(name, link));
    const found: bigint[] = [];
    for (let next = head.u64(field); next !== end; next = this.pointer(next)) {
      if (found.length === MAX_ENTRIES) throw new UnknownKernelObject(`a list of ${name} has no end`);
      found.push(next - back);
    }
    return found;
  }

  /** Words of 64 bits, a few, in one go. */
  words(addresses: readonly bigint[]): bigint[] {
    const found = this.#memory.tryReadWords(addresses);
    if (found === undefined) throw new UnknownKernelObject('words cannot be read');
    return found;
  }

  /** The open file description (struct file) behind a descriptor of ours. */
  fileOf(fd: LocalFd): KernelStruct {
    const table = this.u64('files_struct', this.#ofOwnTask('files'), 'fdt');
    const descriptors = this.u64('fdtable', table, 'fd');
    return this.struct('file', this.pointer(descriptors + BigInt(fd * POINTER_SIZE)));
  }

  /** The task (task_struct) behind a descriptor of ours of a process or thread, pidfd_open(2). */
  taskBehind(pidfd: LocalFd): bigint {
    const file = this.fileOf(pidfd);
    // Since Linux 6.9 the inode has it.
    const inInode = this.u64('inode', file.u64('f_inode'), 'i_private');
    const pid = inInode === 0n ? file.u64('private_data') : inInode;
    // PIDTYPE_PID is the first of its lists.
    const link = this.u64('pid', pid, 'tasks');
    if (link === 0n) throw new UnknownKernelObject('the process has ended');
    return link - BigInt(this.offsetOf('task_struct', 'pid_links'));
  }

  /** All threads of the process that a task is of, the leader first. */
  threadsOf(task: bigint): bigint[] {
    const [link, head] = [this.offsetOf('task_struct', 'thread_node'), this.offsetOf('signal_struct', 'thread_head')];
    const end = this.u64('task_struct', task, 'signal') + BigInt(head);
    const found: bigint[] = [];
    for (let next = this.pointer(end); next !== end; next = this.pointer(next)) {
      if (found.length === MAX_ENTRIES) throw new UnknownKernelObject('a process has threads without end');
      found.push(next - BigInt(link));
    }
    return found;
  }

  /** Undefined where the kernel does not tell ({@link KernelMemory.tryAddressOf}). */
  tryAddressOf(symbol: string): bigint | undefined {
    return this.#memory.tryAddressOf(symbol);
  }

  has(name: string, field: string): boolean {
    return this.#types.fieldOf(name, field) !== undefined;
  }

  /** The open file descriptions of a task (struct file), each with one number under which it has it. */
  filesOfTask(task: bigint): Map<bigint, number> {
    const table = this.struct('fdtable', this.u64('files_struct', this.u64('task_struct', task, 'files'), 'fdt'));
    const found = new Map<bigint, number>();
    this.pointers(table.u64('fd'), table.u32('max_fds')).forEach((file, number) => {
      if (file !== 0n && !found.has(file)) found.set(file, number);
    });
    return found;
  }

  /** The leader of the process that a pidfd of ours stands for (pidfs, Linux 6.9). */
  leaderOf(pidfd: LocalFd): bigint {
    const inode = this.fileOf(pidfd).u64('f_inode');
    const pid = this.u64('inode', inode, 'i_private');
    const first = this.pointer(pid + BigInt(this.offsetOf('pid', 'tasks')));
    if (first === 0n) throw new UnknownKernelObject('the process has ended');
    return first - BigInt(this.offsetOf('task_struct', 'pid_links'));
  }

  /**
   * A counter of 32 bits with a sign of which each of the `cpus`, all that there may be, has a part: their sum. `counter`: as the kernel has it
   * (`__percpu`).
   */
  sumOfCpus(counter: bigint, cpus: readonly number[]): number {
    this.#cpuOffsets ??= this.#readCpuOffsets(cpus);
    return this.#cpuOffsets.reduce(
      (sum, offset) => sum + this.bytes(BigInt.asUintN(64, counter + offset), 4).readInt32LE(),
      0,
    );
  }

  /** How far behind the places that the kernel names the variables of each processor are. */
  #readCpuOffsets(cpus: readonly number[]): readonly bigint[] {
    const values = CpuValues.tryMake();
    try {
      const addresses = values?.tryAddresses(cpus);
      if (values === undefined || addresses === undefined) {
        throw new UnknownKernelObject('what each processor has cannot be read');
      }
      const map = this.fileOf(values.map.number).u64('private_data');
      const common = this.u64('bpf_array', map, 'pptrs');
      return addresses.map((address) => address - common);
    } finally {
      values?.close();
    }
  }

  /** The number of a task in our pid namespace. */
  numberOfTask(task: bigint): number {
    return this.numberOfPid(this.u64('task_struct', task, 'thread_pid'));
  }

  /** The same of a `struct pid`. */
  numberOfPid(pid: bigint): number {
    this.#level ??= this.struct('pid', this.#ofOwnTask('thread_pid')).u32('level');
    const numbers = pid + BigInt(this.offsetOf('pid', 'numbers'));
    const size = this.#types.sizeOf('upid') ?? 0;
    return this.struct('upid', numbers + BigInt(this.#level * size)).u32('nr');
  }

  #ofOwnTask(field: string): bigint {
    const bytes = this.#memory.tryReadOfOwnTask(this.offsetOf('task_struct', field), POINTER_SIZE);
    if (bytes === undefined) throw new UnknownKernelObject('our own task cannot be read');
    return bytes.readBigUInt64LE();
  }
}
