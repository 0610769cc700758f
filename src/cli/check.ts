export function runCheck(): void {}
