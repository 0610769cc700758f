/** Bit masks and numbers of an image by the names that the manual pages give them. */
import { OPEN } from '../kernel/abi/fcntl.ts';
import { NSIG, SA, SA_RESTORER, signalName } from '../kernel/abi/signal.ts';

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

const everySignal = Array.from({ length: NSIG }, (_, index) => index + 1);

/** Names of the signals in a mask, where bit n-1 stands for signal n. */
export const signalsIn = (mask: bigint): string[] =>
  everySignal.filter((signal) => (mask >> BigInt(signal - 1)) & 1n).map(signalName);

export const signalsNotIn = (mask: bigint): string[] => signalsIn(~mask & 0xffff_ffff_ffff_ffffn);

interface Named {
  readonly name: string;
  readonly bits: number;
}

/** Names of the bits that are set; bits without a name are shown as a number. */
function flagNames(value: number, known: readonly Named[]): string[] {
  let left = value;
  const names: string[] = [];
  for (const { name, bits } of known) {
    if (bits === 0 || (BigInt(left) & BigInt(bits)) !== BigInt(bits)) continue;
    names.push(name);
    left = Number(BigInt(left) & ~BigInt(bits));
  }
  return left === 0 ? names : [...names, hex(left)];
}

/** Widest first: O_SYNC has the bit of O_DSYNC in it, O_TMPFILE that of O_DIRECTORY. */
const named = (table: Readonly<Record<string, number>>, skip: readonly string[] = []): Named[] =>
  Object.entries(table)
    .filter(([name]) => !skip.includes(name))
    .map(([name, bits]) => ({ name, bits }))
    .sort((a, b) => bitCount(b.bits) - bitCount(a.bits));

const bitCount = (value: number): number => value.toString(2).replaceAll('0', '').length;

const openFlags = named(OPEN, ['O_ACCMODE', 'O_RDONLY', 'O_WRONLY', 'O_RDWR']);
const accessModes = ['O_RDONLY', 'O_WRONLY', 'O_RDWR'];

/** Flags of open(2), the access mode first. */
export function openFlagNames(flags: number): string[] {
  const access = accessModes[flags & OPEN.O_ACCMODE] ?? 'access mode 3';
  return [access, ...flagNames(flags - (flags & OPEN.O_ACCMODE), openFlags)];
}

const actionFlags = named(SA);

/** Flags of sigaction(2), without SA_RESTORER, which every program has. */
export const actionFlagNames = (flags: number): string[] =>
  flagNames(Number(BigInt(flags) & ~BigInt(SA_RESTORER)), actionFlags);

/** EFLAGS, Intel SDM volume 1, 3.4.3. Bit 1 is always set and has no name. */
const eflags: readonly Named[] = [
  'CF',
  '',
  'PF',
  '',
  'AF',
  '',
  'ZF',
  'SF',
  'TF',
  'IF',
  'DF',
  'OF',
  '',
  '',
  'NT',
  '',
  'RF',
  'VM',
  'AC',
  'VIF',
  'VIP',
  'ID',
].flatMap((name, bit) => (name === '' ? [] : [{ name, bits: 2 ** bit }]));

const IOPL = 0x3000n;

export function eflagsNames(value: bigint): string[] {
  const level = Number((value & IOPL) >> 12n);
  const names = flagNames(Number(value & ~IOPL & ~2n & 0xffff_ffffn), eflags);
  return level === 0 ? names : [...names, `IOPL=${level}`];
}

const PROTECTION = ['r', 'w', 'x'] as const;

/** PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4. */
export const permissionsOf = (protection: number): string =>
  PROTECTION.map((letter, bit) => ((protection >> bit) & 1 ? letter : '-')).join('');

/** Words of the VmFlags line of smaps that an image keeps: proc_pid_smaps(5). */
const mappingWords: ReadonlyMap<string, string> = new Map([
  ['sr', 'sequential'],
  ['rr', 'random'],
  ['dc', 'not copied by fork'],
  ['dd', 'not in core dumps'],
  ['wf', 'wiped on fork'],
  ['hg', 'huge pages'],
  ['nh', 'no huge pages'],
  ['mg', 'mergeable'],
  ['gd', 'grows down'],
  ['nr', 'no reserve'],
  ['lo', 'locked'],
  ['lf', 'locked on fault'],
  ['ht', 'hugetlbfs'],
  ['gu', 'guard pages'],
  ['dp', 'droppable'],
  ['sl', 'sealed'],
]);

export const mappingFlagName = (word: string): string => mappingWords.get(word) ?? word;

/** Policies of sched(7), by number. */
const policies = ['normal', 'fifo', 'round-robin', 'batch', 'policy 4', 'idle', 'deadline', 'ext'];
export const schedulingPolicyName = (policy: number): string => policies[policy] ?? `policy ${policy}`;

/** linux/capability.h, by number. */
const capabilities = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
] as const;

export type CapabilityName = (typeof capabilities)[number];

/** Is the capability in this set? */
export const hasCapability = (set: bigint, name: CapabilityName): boolean =>
  ((set >> BigInt(capabilities.indexOf(name))) & 1n) === 1n;

const ALL_CAPABILITIES = (1n << BigInt(capabilities.length)) - 1n;

/** `none`, `all`, `all but SYS_RESOURCE`, or the names. */
export function capabilityText(set: bigint): string {
  if (set === 0n) return 'none';
  const missing = ALL_CAPABILITIES & ~set;
  if (missing === 0n && set === ALL_CAPABILITIES) return 'all';
  const few = missing.toString(2).replaceAll('0', '').length <= capabilities.length / 2;
  return few && set <= ALL_CAPABILITIES ? `all but ${capabilityNames(missing)}` : capabilityNames(set);
}

function capabilityNames(set: bigint): string {
  const unknown = set & ~ALL_CAPABILITIES;
  const names: string[] = capabilities.filter((_, bit) => (set >> BigInt(bit)) & 1n);
  return (unknown === 0n ? names : [...names, hex(unknown)]).join(' ');
}
