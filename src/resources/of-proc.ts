/** Paths in proc(5), wherever else that may be mounted. */
export const isOfProc = (path: string): boolean => path === '/proc' || path.startsWith('/proc/');
