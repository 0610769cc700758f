/** Memory outside the JavaScript heap: its address can be given to the kernel and does not move. */
import { type LocalAddress, localAddress } from '../support/brand.ts';
import { MAP, PROT } from './abi/mman.ts';
import { SYS } from './abi/syscall.ts';
import { check, isFailure } from './errors.ts';
import { rawSyscall, viewOf } from './ffi.ts';

const PAGE = 4096;

export class NativeMemory {
  readonly address: LocalAddress;
  readonly sizeBytes: number;
  #window: { readonly bytes: Buffer; readonly view: DataView } | undefined;

  private constructor(address: LocalAddress, sizeBytes: number) {
    this.address = address;
    this.sizeBytes = sizeBytes;
  }

  /** All of it, which must be less than 4 GiB: Node 20 has no larger buffers. {@link bytesAt} gives a part of more. */
  get bytes(): Buffer {
    return this.#wholeWindow().bytes;
  }

  /** All of it, with the limit of {@link bytes}. */
  get view(): DataView {
    return this.#wholeWindow().view;
  }

  /** Made when it is asked for: much memory is only for the kernel and for other threads, by its address. */
  #wholeWindow(): { readonly bytes: Buffer; readonly view: DataView } {
    if (this.#window === undefined) {
      const window = viewOf(this.address, this.sizeBytes);
      this.#window = { bytes: Buffer.from(window), view: new DataView(window) };
    }
    return this.#window;
  }

  /** With the rest of its last page. */
  get mappedBytes(): number {
    return Math.ceil(this.sizeBytes / PAGE) * PAGE;
  }

  /**
   * Anonymous memory, zero-filled, private unless `shared`. With `populate` its pages are touched at once, so that no page fault happens
   * later, while a target stands still. With `low` they lie below 2 GiB. `hugeSizeFlag` (MAP_HUGE_*): of huge pages.
   */
  static allocate(
    sizeBytes: number,
    options: { populate?: boolean; shared?: boolean; low?: boolean; hugeSizeFlag?: number } = {},
  ): NativeMemory {
    const sharing = options.shared ? MAP.MAP_SHARED : MAP.MAP_PRIVATE;
    const place = options.low ? MAP.MAP_32BIT : 0;
    const huge = options.hugeSizeFlag === undefined ? 0 : MAP.MAP_HUGETLB | options.hugeSizeFlag;
    const flags = sharing | MAP.MAP_ANONYMOUS | place | huge | (options.populate ? MAP.MAP_POPULATE : 0);
    const address = rawSyscall(SYS.mmap, 0, sizeBytes, PROT.PROT_READ | PROT.PROT_WRITE, flags, -1, 0);
    check('mmap', address, { doing: `get ${sizeBytes} bytes of memory` });
    return new NativeMemory(localAddress(address), sizeBytes);
  }

  /** A file's bytes, read-only, shared with the page cache. */
  static mapFile(fd: number, sizeBytes: number): NativeMemory {
    const address = rawSyscall(SYS.mmap, 0, sizeBytes, PROT.PROT_READ, MAP.MAP_SHARED, fd, 0);
    check('mmap', address, { doing: 'map the image file' });
    return new NativeMemory(localAddress(address), sizeBytes);
  }

  /** The same, private to us. Undefined where such a file cannot be mapped. */
  static tryMapPrivately(fd: number, sizeBytes: number): NativeMemory | undefined {
    const address = rawSyscall(SYS.mmap, 0, sizeBytes, PROT.PROT_READ, MAP.MAP_PRIVATE, fd, 0);
    return isFailure(address) ? undefined : new NativeMemory(localAddress(address), sizeBytes);
  }

  /** Gives the memory back. Every view of it is invalid afterwards. */
  free(): void {
    rawSyscall(SYS.munmap, this.address, this.sizeBytes);
  }
}

/** A window onto memory of ours that somebody else keeps mapped. */
export const bytesAt = (address: LocalAddress, sizeBytes: number): Buffer =>
  sizeBytes === 0 ? Buffer.alloc(0) : Buffer.from(viewOf(address, sizeBytes));
