/** What stands in the way of saving a tree, seen while it runs: what changes as we look is not mistaken for an obstacle. */
import type { OutsidePolicy } from '../resources/outside-policy.ts';
import type { Pid } from '../support/brand.ts';
import type { Problem } from '../support/errors.ts';
import { neighbourObstacles, sharedMemoryObstacles } from './neighbours.ts';
import type { OutsiderSearch } from './outsiders.ts';
import { type SurveyOptions, surveyTree, type TreeSurvey } from './preflight.ts';
import { listTree } from './process-tree.ts';
import type { Keepers } from './tracking.ts';
import { awaitVforks } from './vfork.ts';

export interface RunningTree {
  readonly root: Pid;
  /** See {@link listTree}. */
  readonly isLeftOut: (pid: Pid) => boolean;
  readonly outsiders: OutsiderSearch;
  readonly keepers: Keepers;
  /** See {@link SurveyOptions}. */
  readonly readMappings?: SurveyOptions['readMappings'];
  /** Default: other ends outside are refused. */
  readonly outside?: OutsidePolicy | undefined;
}

/**
 * A program that closes and opens files as we look seems to have what it has not, and a child that was born after the tree was
 * listed looks like an outsider. So the tree is listed and looked at anew if anything is found, and what stands in the way is
 * there twice; what lasts for a moment only, as a vfork(2), is let pass in between. Throws as {@link surveyTree} does.
 */
export function surveyRunning(tree: RunningTree): TreeSurvey {
  const first = lookAround(tree);
  if (first.problems.length === 0) return first;
  awaitVforks(first.processes.map(({ process: { pid } }) => pid));
  const second = lookAround(tree);
  return { ...second, problems: inBoth(first.problems, second.problems) };
}

function lookAround({ root, isLeftOut, ...options }: RunningTree): TreeSurvey {
  const { living } = listTree(root, isLeftOut);
  const survey = surveyTree(living, { ...options, running: true });
  return { ...survey, problems: [...survey.problems, ...outsideObstacles(survey)] };
}

/** What the tree shares with others. */
export const outsideObstacles = ({ processes, parts }: TreeSurvey): Problem[] => [
  ...neighbourObstacles(
    processes.map(({ process }) => process),
    parts,
  ),
  ...sharedMemoryObstacles(processes.map(({ process: { pid }, allMappings }) => ({ pid, mappings: allMappings }))),
];

function inBoth(first: readonly Problem[], second: readonly Problem[]): Problem[] {
  const textOf = ({ code, path, message }: Problem): string => [code, ...path, message].join('\n');
  const seen = new Set(first.map(textOf));
  return second.filter((problem) => seen.has(textOf(problem)));
}
