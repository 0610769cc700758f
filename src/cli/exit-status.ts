/** How the command ends: docs/errors.md and quicksave(1) have this table. */
import { RESTARTED_STATUS } from '../support/restarted-status.ts';

export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;
/** EX_TEMPFAIL of sysexits.h: try again. */
export const EXIT_TRY_AGAIN = 75;

export interface ExitStatus {
  readonly status: string;
  readonly means: string;
}

export const EXIT_STATUSES: readonly ExitStatus[] = [
  { status: '0', means: 'Done. quicksave check: nothing stands in the way.' },
  {
    status: `${EXIT_FAILED}`,
    means:
      'Refused or failed: what was to be saved goes on, and nothing is left behind. quicksave check: something stands in the way. quicksave inspect: the image was cut; what there is of it has been shown.',
  },
  { status: `${EXIT_USAGE}`, means: 'Wrong usage: nothing was done.' },
  { status: `${RESTARTED_STATUS}`, means: 'quicksave checkpoint --self, in the program that was restarted.' },
  {
    status: `${EXIT_TRY_AGAIN}`,
    means: 'quicksave run: the program was saved and ended before it was done; start it again.',
  },
  {
    status: 'others',
    means:
      'quicksave restart without --detach, and quicksave run, end as the program ends: with its status, or by the same signal.',
  },
];
