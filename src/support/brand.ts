/**
 * Nominal types over numbers. A remote address is not a local one, a descriptor of the target is not ours: mixing them up
 * is the kind of mistake that the compiler should find.
 */
declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** An address in a target's address space. User space ends below 2^47, so a double holds it exactly. */
export type RemoteAddress = Brand<number, 'RemoteAddress'>;
/** An address in our own address space. */
export type LocalAddress = Brand<number, 'LocalAddress'>;
/** A descriptor number in a target's table. */
export type RemoteFd = Brand<number, 'RemoteFd'>;
/** A descriptor number in our own table. */
export type LocalFd = Brand<number, 'LocalFd'>;
/** A process id (thread group id) as seen from our pid namespace. */
export type Pid = Brand<number, 'Pid'>;
/** A task id (thread) as seen from our pid namespace; the group leader's equals its pid. */
export type Tid = Brand<number, 'Tid'>;

export const remoteAddress = (value: number): RemoteAddress => value as RemoteAddress;
export const localAddress = (value: number): LocalAddress => value as LocalAddress;
export const remoteFd = (value: number): RemoteFd => value as RemoteFd;
export const localFd = (value: number): LocalFd => value as LocalFd;
export const asPid = (value: number): Pid => value as Pid;
export const asTid = (value: number): Tid => value as Tid;
