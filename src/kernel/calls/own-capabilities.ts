/** Our own thread's capabilities: capget(2), capset(2). */
import { LINUX_CAPABILITY_VERSION_3 } from '../abi/capability.ts';
import { SYS } from '../abi/syscall.ts';
import { check } from '../errors.ts';
import { rawSyscall } from '../ffi.ts';
import { newCall, scratch } from '../scratch.ts';

const HEADER_SIZE = 8;
/** Two of effective, permitted and inheritable, of 32 bits each: the low half first. */
const DATA_SIZE = 24;

/** Does something as a thread would do it that has not this capability; it stays permitted, and is effective again afterwards. */
export function withoutCapability<T>(capability: number, act: () => T): T {
  const had = ownCapabilities();
  const without = Buffer.from(had);
  const at = capability < 32 ? 0 : DATA_SIZE / 2;
  without.writeUInt32LE((without.readUInt32LE(at) & ~(1 << (capability & 31))) >>> 0, at);
  setOwnCapabilities(without);
  try {
    return act();
  } finally {
    setOwnCapabilities(had);
  }
}

function ownCapabilities(): Buffer {
  newCall();
  const [header, data] = [scratch(HEADER_SIZE), scratch(DATA_SIZE)];
  header.view.setUint32(0, LINUX_CAPABILITY_VERSION_3, true);
  check('capget', rawSyscall(SYS.capget, header.address, data.address), { doing: 'ask for our own capabilities' });
  return Buffer.from(data.bytes);
}

function setOwnCapabilities(sets: Buffer): void {
  newCall();
  const [header, data] = [scratch(HEADER_SIZE), scratch(DATA_SIZE)];
  header.view.setUint32(0, LINUX_CAPABILITY_VERSION_3, true);
  data.bytes.set(sets);
  check('capset', rawSyscall(SYS.capset, header.address, data.address), { doing: 'set our own capabilities' });
}
