/** What a report page is given: the inspection of an image as JSON, and where the pages of each mapping lie. */

export interface PageThread {
  readonly tid: number;
  readonly name?: string;
  readonly registers: Readonly<Record<string, string>>;
  readonly eflags: readonly string[];
  readonly call: string;
  readonly place?: string;
  readonly stack: readonly { readonly at: string; readonly address: string; readonly place: string }[];
}

/** In the image; zeros; in another memory of the image, or in the image that it builds on. */
export const pageSorts = ['data', 'zero', 'elsewhere'] as const;

export interface PageMapping {
  readonly start: string;
  readonly end: string;
  readonly sizeBytes: number;
  readonly permissions: string;
  readonly kind: string;
  readonly label: string;
  readonly flags: readonly string[];
  /** How many pages of each of {@link pageSorts}; of shared memory those of the object. */
  readonly pages: readonly number[];
  /** The same of each of equal parts of the mapping; none if all are without pages. */
  readonly parts: readonly (readonly number[])[];
}

export interface PageDescriptor {
  readonly fd: number;
  readonly object: number;
  readonly kind: string;
  readonly label: string;
  readonly closeOnExec: boolean;
  readonly detail: string;
}

export interface PageProcess {
  readonly pid: number;
  readonly parent?: number;
  readonly comm: string;
  readonly command: string;
  readonly facts: readonly (readonly [string, string])[];
  readonly threads: readonly PageThread[];
  readonly mappings: readonly PageMapping[];
  readonly descriptors: readonly PageDescriptor[];
}

/** An open file description. `outside`: what it leads to outside of the tree. `ends`: objects that it is the other end of or watches. */
export interface PageObject {
  readonly object: number;
  readonly kind: string;
  readonly label: string;
  readonly outside?: string;
  readonly ends: readonly number[];
}

/** Texts are for people; microseconds since the save began. */
export interface PageStep {
  readonly name: string;
  readonly startUs: number;
  readonly endUs: number;
  readonly text: string;
}

export interface PageTimeline {
  /** One after the other. */
  readonly steps: readonly PageStep[];
  /** While the programs stood still; missing if they did not go on. */
  readonly pause?: PageStep;
}

export interface PageData {
  readonly title: string;
  readonly facts: readonly (readonly [string, string])[];
  /** Missing where the image does not tell. */
  readonly timeline?: PageTimeline;
  readonly sizes: readonly { readonly label: string; readonly bytes: number }[];
  readonly isIncremental: boolean;
  readonly processes: readonly PageProcess[];
  readonly objects: readonly PageObject[];
}
