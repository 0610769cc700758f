/** A descriptor of ours that is closed exactly once. */
import { type LocalFd, localFd } from '../support/brand.ts';
import { SYS } from './abi/syscall.ts';
import { rawSyscall } from './ffi.ts';

export class OwnedFd {
  readonly #fd: LocalFd;
  #open = true;

  constructor(fd: number) {
    this.#fd = localFd(fd);
  }

  get number(): LocalFd {
    if (!this.#open) throw new Error(`descriptor ${this.#fd} is used after it was closed`);
    return this.#fd;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    rawSyscall(SYS.close, this.#fd);
  }
}
