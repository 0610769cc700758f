/**
 * The program of a keeper: a process that holds two descriptors open, and ends when the second, a pidfd, says that its process has.
 */
import { onePageProgram } from './stub-elf.ts';

const ADDRESS = 0x10_0000_0000;
const ENTRY_OFFSET = 0x100;
const FIRST_DESCRIPTOR = 2;

/*
 * mov r12d,FIRST; close_range(0, FIRST - 1); close_range(FIRST + 2, ~0); setsid(); chdir("/"); prctl(PR_SET_NAME, "quicksave-keep");
 * rt_sigprocmask(SIG_SETMASK, none); then poll(2) of the second descriptor until it can be read; exit_group(0). The source is in
 * tests/abi/machine-code.test.ts.
 */
function keeperCode(firstDescriptor: number): Buffer {
  const keeper = Buffer.from(
    '41bc0000000031ff418d7424ff31d2b8b40100000f05418d7c2402beffffffff31d2b8b40100000f05b8700000000f05' +
      '488d3d6a000000b8500000000f05bf0f000000488d3559000000b89d0000000f05bf02000000488d355500000031d2' +
      '41ba08000000b80e0000000f05418d442401894424f0c74424f401000000488d7c24f0be01000000baffffffffb807' +
      '0000000f0583f80175e531ffb8e70000000f052f00717569636b736176652d6b656570000000000000000000',
    'hex',
  );
  keeper.writeUInt32LE(firstDescriptor, FIRST_DESCRIPTOR);
  return keeper;
}

/** An ELF64 executable that keeps `firstDescriptor` and the one behind it, which is the pidfd. */
export function keeperProgram(firstDescriptor: number): Buffer {
  const image = onePageProgram(ADDRESS, ENTRY_OFFSET);
  keeperCode(firstDescriptor).copy(image, ENTRY_OFFSET);
  return image;
}
