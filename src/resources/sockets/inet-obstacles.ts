/** What stands in the way of saving any socket of the internet protocols. */
import type { ErrorCode } from '../../support/error-pages/catalogue.ts';
import type { Problem } from '../../support/errors.ts';
import type { DescriptorView } from '../resource.ts';

export const inetProblem = (view: DescriptorView, code: ErrorCode, what: string, remedy?: string): Problem => ({
  code,
  path: [`pid ${view.pid}`, `fd ${view.fd}`, view.descriptor.target],
  message: `${what}, which cannot be saved.`,
  remedy: remedy ?? 'Save it when the program has closed it.',
});
