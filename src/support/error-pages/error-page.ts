/** What `docs/errors.md` says of a code, beside the sentence of the error itself, which names the process, the file or the number. */
export interface ErrorPage {
  /** What it means in general, in one or two sentences. */
  readonly means: string;
  /** What to do, in one or two sentences; printed where the error itself knows nothing better. */
  readonly remedy: string;
}

export type ErrorPages = Readonly<Record<string, ErrorPage>>;
