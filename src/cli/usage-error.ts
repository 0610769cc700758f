import { QuicksaveError } from '../support/errors.ts';

/** An argument that the command does not take: exit status 2. */
export class UsageError extends QuicksaveError {
  override readonly name = 'UsageError';
  constructor(message: string) {
    super('wrong-usage', message);
  }
}
