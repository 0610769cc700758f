/** Asynchronous I/O of the kernel's own: io_setup(2). */
import { defineAbi } from './define-abi.ts';

export const AIO = {
  IOCB_CMD_PREAD: 0,
} as const;

export const aioAbi = defineAbi({
  headers: ['linux/aio_abi.h'],
  constants: { ...AIO },
  structs: {
    iocb: {
      size: 64,
      fields: {
        aio_lio_opcode: [16, 'u16'],
        aio_fildes: [20, 'u32'],
        aio_buf: [24, 'u64'],
        aio_nbytes: [32, 'u64'],
      },
    },
    io_event: {
      size: 32,
      fields: { data: [0, 'u64'], obj: [8, 'u64'], res: [16, 'i64'], res2: [24, 'i64'] },
    },
  },
});
