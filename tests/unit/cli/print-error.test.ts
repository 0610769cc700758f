/** Errors as data: what `--json` prints. */
import { expect, test } from 'vitest';
import { describe } from '../../../src/cli/print-error.ts';
import { ERROR_PAGES } from '../../../src/support/error-pages/catalogue.ts';
import { QuicksaveError, RefusedError } from '../../../src/support/errors.ts';

test('an error without a remedy of its own has that of its code', () => {
  const own = new QuicksaveError('cannot-read', 'It is gone.', { remedy: 'Look elsewhere.' });
  expect(describe(own)).toEqual({
    code: 'cannot-read',
    message: 'It is gone.',
    remedy: 'Look elsewhere.',
    problems: [],
  });
  const general = new QuicksaveError('cannot-read', 'It is gone.');
  expect(describe(general).remedy).toBe(ERROR_PAGES['cannot-read'].remedy);
});

test('a refusal has all its problems, each with a remedy', () => {
  const lease = { code: 'lease', path: ['pid 7', 'fd 3'], message: 'It holds a lease.' } as const;
  const { code, problems } = describe(new RefusedError('It cannot be saved.', [lease]));
  expect([code, problems]).toEqual(['refused', [{ ...lease, remedy: ERROR_PAGES.lease.remedy }]]);
});

test('what is thrown by mistake is an error of quicksave itself, without a stack trace', () => {
  const described = describe(new TypeError('x is not a function'));
  expect(described).toMatchObject({ code: 'internal', problems: [] });
  expect(described.message).toBe('Something went wrong inside quicksave: x is not a function.');
  expect(describe('thrown text').code).toBe('internal');
});
