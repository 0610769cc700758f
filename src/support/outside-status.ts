/** In the environment of a command in a user namespace of its own: /proc/PID/status of the command outside. Programs are not to have it. */
export const OUTSIDE_STATUS = 'QUICKSAVE_OUTSIDE_STATUS';
