/** What no kind takes is refused by its own name. */
import { expect, it } from 'vitest';
import { STAT } from '../../../src/kernel/abi/stat.ts';
import { unsavable } from '../../../src/resources/unsavable.ts';
import { descriptorView, device, looks } from './views.ts';

const sentenceOf = (target: string, mode = 0o600): string => {
  const { code, message, remedy } = unsavable(descriptorView({ target, mode, rawDevice: device(10, 1) }));
  expect(code).toBe('unknown-descriptor');
  expect(remedy).toMatch(/^(Save|Run|Detach|Stop|End) /);
  return message;
};

it.each([
  ['anon_inode:[userfaultfd]', /a userfaultfd/],
  ['anon_inode:bpf-map', /a BPF map open/],
  ['anon_inode:bpf-prog', /a BPF program open/],
  ['anon_inode:bpf_link', /a BPF link open/],
  ['anon_inode:[perf_event]', /a performance counter/],
  ['anon_inode:kvm-vm', /a virtual machine/],
  ['anon_inode:[landlock-ruleset]', /a Landlock ruleset/],
  ['anon_inode:[something-new]', /an object of the kernel without a name \(something-new\)/],
  ['net:[4026531840]', /a namespace \(net:\[4026531840\]\)/],
])('%s', (target, sentence) => {
  expect(sentenceOf(target)).toMatch(sentence);
});

it('devices are named by their path', () => {
  expect(sentenceOf('/dev/vda', STAT.S_IFBLK)).toContain('the block device /dev/vda');
  expect(sentenceOf('/dev/psaux', STAT.S_IFCHR)).toContain('the device /dev/psaux');
});

it('a socket cannot be saved yet', () => {
  expect(unsavable(descriptorView(looks.socket)).message).toMatch(/socket:\[98\] open, which cannot be saved yet/);
});
