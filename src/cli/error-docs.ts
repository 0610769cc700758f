/** docs/errors.md, as `npm run docs` writes it. */
import { ERROR_SECTIONS, type ErrorSection } from '../support/error-pages/catalogue.ts';
import { EXIT_STATUSES } from './exit-status.ts';

const INTRODUCTION = `# Errors

<!-- Made by npm run docs from src/support/error-pages and src/cli/exit-status.ts: change it there. -->

An error of quicksave is a sentence that names what it is about, what to do, and a code in brackets. The code is stable: it keeps its meaning, and no other error ever
gets it. A save or a restart that is refused lists everything that stands in its way, each with a code of its own.

With \`--json\` a command that fails prints the error as data on standard output, beside the sentence on standard error: an object \`error\` with \`code\`, \`message\`,
\`remedy\` and \`problems\`, a list of \`code\`, \`path\`, \`message\`, \`remedy\`. In the library it is the \`QuicksaveError\` that is thrown. Options that no
command has are told as text only.

\`quicksave --debug COMMAND\` adds where in quicksave the error comes from, the last system calls before it, and what to put into a report. No stack trace is shown
without it.
`;

export function errorDocs(): string {
  const statuses = ['## Exit status', '', '| status | means |', '|---|---|', ...EXIT_STATUSES.map(statusRow)];
  const sections = ERROR_SECTIONS.map(sectionText);
  return `${[INTRODUCTION, `${statuses.join('\n')}\n`, ...sections].join('\n')}`;
}

const statusRow = ({ status, means }: { status: string; means: string }): string => `| ${status} | ${means} |`;

function sectionText({ title, pages }: ErrorSection): string {
  const entries = Object.entries(pages).map(([code, { means, remedy }]) => `### ${code}\n\n${means}\n\n${remedy}\n`);
  return `## ${title}\n\n${entries.join('\n')}`;
}
