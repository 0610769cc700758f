/** Are the states in an image ones that a save makes? The same questions that a restart asks before it plans anything. */

import { checkedRegisters, localDescriptorsOf } from '../arch/x86/thread-registers.ts';
import type { ImageModel } from '../image/model.ts';
import type { ProcessModel } from '../image/process-model.ts';
import { parseState } from '../image/schema.ts';
import { mappedFileSchema } from '../resources/mapped-file.ts';
import { descriptorKinds, mappingKinds, processAspects, threadAspects } from '../resources/registry.ts';
import type { StateSchema } from '../resources/resource.ts';
import { ImageError } from '../support/errors.ts';

/** Throws ImageError. */
export function checkStates(model: ImageModel): void {
  for (const process of model.processes) checkProcess(process, model);
  for (const [object, state] of model.mappedFiles) {
    parseState(mappedFileSchema, state, `FNAME record of object ${object}`);
  }
  for (const [object, { kind, state, contentBytes }] of model.descriptions) {
    const where = `FD_DATA record of object ${object}`;
    const known = descriptorKinds.find((candidate) => candidate.kind === kind);
    if (known === undefined) throw bad(where, `its kind ${kind} is not known`);
    const parsed = parseState(known.schema, state, where);
    if ((known.contentBytes?.(parsed) ?? 0) !== contentBytes) throw bad(where, 'its content does not fit its state');
  }
}

function checkProcess({ aspects, memoryContext, threads, mappings }: ProcessModel, model: ImageModel): void {
  checkAspects(aspects, statesIn(model, aspects, processAspects), 'TASK_STATE record');
  const localDescriptors = localDescriptorsOf(memoryContext);
  for (const thread of threads) {
    checkAspects(
      thread.state.aspects,
      statesIn(model, thread.state.aspects, threadAspects),
      `THREAD_STATE record of thread ${thread.tid}`,
    );
    checkedRegisters(thread, localDescriptors);
  }
  for (const { start, kind, state } of mappings) {
    const where = `VMA record: mapping 0x${start.toString(16)}`;
    const known = mappingKinds.find((candidate) => candidate.kind === kind);
    if (known === undefined) throw bad(where, `its kind ${kind} is not known`);
    parseState(known.schema, state, where);
  }
}

interface Aspect {
  readonly name: string;
  readonly schema: StateSchema<unknown>;
}

/** Another format need not have them all: what it lacks, a restart adds. */
const statesIn = <Known extends Aspect>(
  { origin }: ImageModel,
  states: Readonly<Record<string, unknown>>,
  known: readonly Known[],
): readonly Known[] => (origin === undefined ? known : known.filter(({ name }) => Object.hasOwn(states, name)));

function checkAspects(states: Readonly<Record<string, unknown>>, known: readonly Aspect[], where: string): void {
  const unknown = Object.keys(states).find((name) => !known.some((aspect) => aspect.name === name));
  if (unknown !== undefined) throw bad(where, `this quicksave does not know its ${unknown}`);
  for (const { name, schema } of known) parseState(schema, states[name], `${where}: ${name}`);
}

const bad = (where: string, what: string): ImageError => new ImageError('bad-record', `${where}: ${what}.`);
