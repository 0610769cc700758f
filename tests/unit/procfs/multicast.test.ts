import { expect, it } from 'vitest';
import { parseIgmp, parseIgmp6 } from '../../../src/procfs/multicast.ts';

it('the groups of each interface are read from igmp, and nothing else of it', () => {
  const text = [
    'Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter',
    '1\tlo        :     1      V3',
    '\t\t\t\t010000E0     1 0:00000000\t\t0',
    '12\teth0      :     2      V3',
    '\t\t\t\tFB0000E0     1 0:00000000\t\t0',
    '',
  ].join('\n');
  expect(
    parseIgmp(text).map(({ interfaceIndex, interfaceName, text: group }) => [interfaceIndex, interfaceName, group]),
  ).toEqual([
    [1, 'lo', '224.0.0.1'],
    [12, 'eth0', '224.0.0.251'],
  ]);
});

it('those of IPv6 too', () => {
  const [group] = parseIgmp6('3    eth0            ff0200000000000000000000000000fb     1 0000000C 0\n');
  expect(group).toMatchObject({
    interfaceIndex: 3,
    interfaceName: 'eth0',
    text: 'ff02:0000:0000:0000:0000:0000:0000:00fb',
  });
  expect(group?.address).toHaveLength(16);
  expect(parseIgmp6('')).toEqual([]);
});
