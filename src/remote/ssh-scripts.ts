/**
 * What runs on the other host, in the POSIX shell there. Nothing of an address is part of a script: the path comes as the first line of
 * its input, so that there is nothing to quote and nothing that a path could do. The scripts have no quote `'`, backslash, `!` or line
 * break in them, so that every login shell (bash, fish, csh) hands them to `sh` as they are.
 */

/** Exit statuses of the scripts, beside those of ssh(1) (255) and of shells (126 and more). */
export const SCRIPT_EXIT = {
  noInput: 70,
  noFolder: 71,
  notAFile: 72,
  cannotWrite: 73,
  notWhole: 74,
  missing: 75,
  unreadable: 76,
} as const;

const EXIT = SCRIPT_EXIT;

/** Bytes of the token behind an image, which says that it is whole: a lost connection ends the input as well. */
export const TOKEN_LENGTH = 32;

export const readyLine = (token: string): string => `quicksave-ready ${token}`;
export const doneLine = (token: string): string => `quicksave-done ${token}`;

const asCommand = (...lines: readonly string[]): string => `exec sh -c '${lines.join(' ')}'`;

/**
 * Takes the path, a token, the image, and the token again. The image is under another name until it is whole and on disk.
 */
export const WRITE_SCRIPT = asCommand(
  'umask 077;',
  `IFS= read -r f && IFS= read -r t || exit ${EXIT.noInput};`,
  'd=$(dirname -- "$f");',
  `[ -d "$d" ] || exit ${EXIT.noFolder};`,
  `if [ -e "$f" ]; then [ -f "$f" ] || exit ${EXIT.notAFile}; fi;`,
  'p="$d/.quicksave.$t.partial";',
  'leave() { rm -f -- "$p"; exit "$1"; };',
  `trap "leave ${EXIT.notWhole}" HUP INT TERM PIPE;`,
  // Not `:`, a special built-in, with which a shell ends where a redirection fails.
  `true > "$p" || exit ${EXIT.cannotWrite};`,
  'echo "quicksave-ready $t";',
  `cat > "$p" || leave ${EXIT.cannotWrite};`,
  `[ "$(tail -c ${TOKEN_LENGTH} "$p" | tr -cd 0-9a-f)" = "$t" ] || leave ${EXIT.notWhole};`,
  // POSIX: dd cuts what it writes to where it begins to write.
  `n=$(( $(wc -c < "$p") - ${TOKEN_LENGTH} ));`,
  `dd if=/dev/null of="$p" bs=1 seek="$n" count=0 2>/dev/null || leave ${EXIT.cannotWrite};`,
  // Not every sync takes names.
  `sync -- "$p" 2>/dev/null || sync || leave ${EXIT.cannotWrite};`,
  `mv -f -- "$p" "$f" || leave ${EXIT.cannotWrite};`,
  'sync -- "$d" 2>/dev/null || sync;',
  'echo "quicksave-done $t"',
);

/** Takes the path and a token; gives a line, and then the file. */
export const READ_SCRIPT = asCommand(
  `IFS= read -r f && IFS= read -r t || exit ${EXIT.noInput};`,
  `[ -e "$f" ] || exit ${EXIT.missing};`,
  `[ -d "$f" ] && exit ${EXIT.notAFile};`,
  `[ -r "$f" ] || exit ${EXIT.unreadable};`,
  'echo "quicksave-ready $t";',
  'exec cat -- "$f"',
);
