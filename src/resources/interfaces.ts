/** Network interfaces, which the image has by their names: numbers are of one boot. */
import { readdirSync, readFileSync } from 'node:fs';
import * as v from 'valibot';
import { boundedString } from '../image/schema.ts';
import type { Problem } from '../support/errors.ts';
import { refuseLack } from '../support/lacking.ts';

const isName = (name: string): boolean => /^[^/\s]+$/.test(name) && name !== '.' && name !== '..';

/** IFNAMSIZ less its NUL. */
export const interfaceSchema = v.pipe(boundedString(15), v.check(isName, 'must be the name of an interface'));

/** Undefined where there is no such interface. */
export function indexOfInterface(name: string): number | undefined {
  try {
    return Number(readFileSync(`/sys/class/net/${name}/ifindex`, 'latin1'));
  } catch (error) {
    refuseLack(error, `the number of interface ${name}`);
    return undefined;
  }
}

/** Undefined where no interface has that number now. */
export const nameOfInterface = (index: number): string | undefined =>
  readdirSync('/sys/class/net').find((name) => indexOfInterface(name) === index);

export const missingInterface = (name: string, path: readonly string[]): Problem[] =>
  indexOfInterface(name) !== undefined
    ? []
    : [
        {
          code: 'missing-interface',
          path,
          message: `It uses the network interface ${name}, which this host does not have.`,
          remedy: 'Make an interface of that name first (ip link add).',
        },
      ];

export const missingInterfaces = (names: readonly string[], path: readonly string[]): Problem[] =>
  [...new Set(names)].flatMap((name) => missingInterface(name, path));
