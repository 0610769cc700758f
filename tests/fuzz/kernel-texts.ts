/** What the kernel says, as files of /proc and as answers by netlink, with words, lines and bytes changed. */
import { netlinkAbi, SOCK_DIAG } from '../../src/kernel/abi/netlink.ts';
import { PACKET, packetAbi } from '../../src/kernel/abi/packet.ts';
import { structOf } from '../../src/kernel/struct.ts';
import { decodeInetSocket } from '../../src/netlink/inet-sockets.ts';
import { decodeMessages, encodeAttribute, encodeMessage } from '../../src/netlink/messages.ts';
import { decodeTableName } from '../../src/netlink/nf-tables.ts';
import { decodePacketSocket } from '../../src/netlink/packet-sockets.ts';
import { decodeUnixSocket } from '../../src/netlink/unix-sockets.ts';
import { parseAuxv } from '../../src/procfs/auxv.ts';
import { parseCommandLine } from '../../src/procfs/cmdline.ts';
import { parseCpuinfo } from '../../src/procfs/cpuinfo.ts';
import { parseDescriptorTarget } from '../../src/procfs/descriptors.ts';
import { parseFdinfo } from '../../src/procfs/fdinfo.ts';
import { parseMountinfo } from '../../src/procfs/mountinfo.ts';
import { parseIgmp, parseIgmp6 } from '../../src/procfs/multicast.ts';
import { parsePersonality } from '../../src/procfs/personality.ts';
import { parseRawSockets } from '../../src/procfs/raw-sockets.ts';
import { parseSched } from '../../src/procfs/sched.ts';
import { parseMaps, parseSmaps } from '../../src/procfs/smaps.ts';
import { parseStat } from '../../src/procfs/stat.ts';
import { parseStatus } from '../../src/procfs/status.ts';
import { parseSegments } from '../../src/procfs/sysvipc.ts';
import { parseChildren } from '../../src/procfs/tasks.ts';
import { parseTimers } from '../../src/procfs/timers.ts';
import { parseWaiting } from '../../src/procfs/waiting.ts';
import * as samples from './proc-samples.ts';
import type { Random } from './random.ts';
import { mutateBytes, type Subject } from './subject.ts';

const words = [
  '',
  '0',
  '-1',
  '18446744073709551616',
  '9007199254740993',
  '(',
  ')',
  ') R',
  ':',
  'ffffffffffffffff',
  '0x',
  '\\040',
  '\n',
];

/** A word or a line is left out, doubled, exchanged, or becomes another. */
function mutateText(seed: Buffer, random: Random): Buffer {
  if (random.below(4) === 0) return mutateBytes(seed, random);
  const separator = random.oneOf(['\n', ' ', '\t', ':']);
  const parts = seed.toString('latin1').split(separator);
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const index = random.below(parts.length);
    const way = random.below(4);
    if (way === 0) parts.splice(index, 1);
    else if (way === 1) parts.splice(index, 0, random.oneOf(parts.length > 0 ? parts : ['']));
    else if (way === 2) parts[index] = random.oneOf(words);
    else parts.length = Math.max(1, index);
    if (parts.length === 0) parts.push('');
  }
  return Buffer.from(parts.join(separator), 'latin1');
}

const text = (name: string, seeds: readonly string[], ...parsers: readonly ((text: string) => unknown)[]): Subject => ({
  name,
  seeds: seeds.map((seed) => Buffer.from(seed)),
  mutate: mutateText,
  readers: parsers.map((parse) => (input: Buffer) => void parse(input.toString('latin1'))),
});

/** AT_PAGESZ, AT_PHDR, and the end: getauxval(3). */
const auxvWords = BigUint64Array.of(6n, 4096n, 3n, 0x5555_5555_4040n, 0n, 0n);

export const procFiles: readonly Subject[] = [
  text('stat', [samples.stat], parseStat),
  text('status', [samples.status], parseStatus),
  text('smaps', [samples.smaps], parseSmaps),
  text('maps', [samples.maps], parseMaps),
  text('fdinfo', samples.fdinfo, parseFdinfo),
  text('mountinfo', [samples.mountinfo], parseMountinfo),
  text('timers', [samples.timers], parseTimers),
  text('sched', [samples.sched], parseSched),
  text('segments', [samples.segments], parseSegments),
  text('igmp', [samples.igmp], parseIgmp),
  text('igmp6', [samples.igmp6], parseIgmp6),
  text('raw', [samples.raw], parseRawSockets),
  text('cpuinfo', [samples.cpuinfo], parseCpuinfo),
  text('children', ['12 3456 7 \n'], parseChildren),
  text('personality', ['00040000\n'], parsePersonality),
  text('cmdline', ['sleep\0-x\0\x300\0'], parseCommandLine),
  text('waiting', [samples.syscall], (given) => parseWaiting(given, 'futex_do_wait')),
  text(
    'descriptor',
    ['socket:[1234]', '/memfd:name (deleted)', 'anon_inode:[eventfd]', '/a/b\\c'],
    parseDescriptorTarget,
  ),
  {
    name: 'auxv',
    seeds: [Buffer.from(auxvWords.buffer)],
    mutate: mutateBytes,
    readers: [(input) => void parseAuxv(input)],
  },
];

const unixEntry = structOf(netlinkAbi.structs.unix_diag_msg);
const inetEntry = structOf(netlinkAbi.structs.inet_diag_msg);
const packetEntry = structOf(packetAbi.structs.packet_diag_msg);
const member = structOf(packetAbi.structs.packet_diag_mclist);

const answer = (...payloads: readonly Buffer[]): Buffer =>
  Buffer.concat(payloads.map((payload) => encodeMessage({ type: 20, flags: 2, sequence: 1, payload })));

/** Attributes of `SHOWN` in unix-sockets.ts: a path, the file, a peer, connections that wait, and the queues. */
const unixAttributes = [
  encodeAttribute(SOCK_DIAG.UNIX_DIAG_NAME, Buffer.from('/run/sample\0')),
  encodeAttribute(SOCK_DIAG.UNIX_DIAG_VFS, Buffer.alloc(8, 3)),
  encodeAttribute(SOCK_DIAG.UNIX_DIAG_PEER, Buffer.alloc(4, 5)),
  encodeAttribute(SOCK_DIAG.UNIX_DIAG_ICONS, Buffer.alloc(12, 6)),
  encodeAttribute(SOCK_DIAG.UNIX_DIAG_RQLEN, Buffer.alloc(8, 1)),
  encodeAttribute(SOCK_DIAG.UNIX_DIAG_SHUTDOWN, Buffer.from([3])),
];

const datagram = (name: string, seed: Buffer, decode: (payload: Buffer) => unknown): Subject => ({
  name,
  seeds: [seed],
  mutate: mutateBytes,
  readers: [
    (input) => {
      for (const { payload } of decodeMessages(input)) decode(payload);
    },
  ],
});

export const netlinkAnswers: readonly Subject[] = [
  datagram(
    'unix-diag',
    answer(
      Buffer.concat([
        unixEntry.encode({ udiag_family: 1, udiag_type: 1, udiag_state: 1, udiag_ino: 77 }),
        ...unixAttributes,
      ]),
      unixEntry.encode({ udiag_family: 1, udiag_type: 2, udiag_state: 7, udiag_ino: 78 }),
    ),
    decodeUnixSocket,
  ),
  datagram(
    'inet-diag',
    answer(inetEntry.encode({ idiag_family: 2, idiag_state: 1, idiag_inode: 79 })),
    decodeInetSocket,
  ),
  datagram(
    'packet-diag',
    answer(
      Buffer.concat([
        packetEntry.encode({ pdiag_family: 17, pdiag_type: 3, pdiag_ino: 80 }),
        encodeAttribute(PACKET.PACKET_DIAG_MCLIST, member.encode({ pdmc_index: 1, pdmc_count: 2, pdmc_alen: 6 })),
        encodeAttribute(PACKET.PACKET_DIAG_FANOUT, Buffer.alloc(4)),
      ]),
    ),
    decodePacketSocket,
  ),
  datagram(
    'nf-tables',
    answer(Buffer.concat([Buffer.alloc(4), encodeAttribute(1, Buffer.from('quicksave-1234\0'))])),
    decodeTableName,
  ),
];
