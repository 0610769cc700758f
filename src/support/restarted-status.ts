/**
 * The exit status that a process which has saved itself finds for the command that it ran for that, on the side that was
 * restarted; 0 on the side that goes on, 1 and 2 for errors.
 */
export const RESTARTED_STATUS = 3;
