import { expect, it } from 'vitest';
import { parseRawSockets } from '../../../src/procfs/raw-sockets.ts';

it('the peers of raw sockets are read as addresses, of both families, whether they are connected or not', () => {
  const text = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops',
    ' 245: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 39940373 2 00000000e6eb563d 0',
    '   1: 0100007F:0001 0203007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 77 2 00000000e6eb563d 0',
    '  58: 00000000000000000000000001000000:003A B80D0120000000000000000002000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 78 2 0000000000000000 0',
    '  58: broken',
    '',
  ].join('\n');
  expect(parseRawSockets(text).map((one) => [one.inode, one.isConnected, one.remote.toString('hex')])).toEqual([
    [39_940_373, false, '02000000000000000000000000000000'],
    [77, true, '02001f907f0003020000000000000000'],
    [78, true, '0a0000000000000020010db800000000000000000000000200000000'],
  ]);
});
