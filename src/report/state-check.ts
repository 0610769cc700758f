/** Are the states in an image ones that a save makes? The same questions that a restart asks before it plans anything. */

import { decodeCpu, decodeThread } from '../arch/x86/records.ts';
import { debugRegisterFaults, registerFaults } from '../arch/x86/register-sanity.ts';
import { xstateFault } from '../arch/x86/xstate.ts';
import type { ImageModel, ThreadModel } from '../image/model.ts';
import { parseState } from '../image/schema.ts';
import { mappedFileSchema } from '../resources/mapped-file.ts';
import { descriptorKinds, mappingKinds, processAspects, threadAspects } from '../resources/registry.ts';
import type { StateSchema } from '../resources/resource.ts';
import { ImageError } from '../support/errors.ts';

/** MXCSR bits of every processor with SSE2 and DAZ. */
const MXCSR_MASK = 0xffff;

/** Throws ImageError. */
export function checkStates(model: ImageModel): void {
  checkAspects(model.aspects, processAspects, 'TASK_STATE record');
  for (const thread of model.threads) checkThread(thread);
  for (const [object, state] of model.mappedFiles) {
    parseState(mappedFileSchema, state, `FNAME record of object ${object}`);
  }
  for (const { start, kind, state } of model.mappings) {
    const where = `VMA record: mapping 0x${start.toString(16)}`;
    const known = mappingKinds.find((candidate) => candidate.kind === kind);
    if (known === undefined) throw bad(where, `its kind ${kind} is not known`);
    parseState(known.schema, state, where);
  }
  for (const [object, { kind, state, contentBytes }] of model.descriptions) {
    const where = `FD_DATA record of object ${object}`;
    const known = descriptorKinds.find((candidate) => candidate.kind === kind);
    if (known === undefined) throw bad(where, `its kind ${kind} is not known`);
    const parsed = parseState(known.schema, state, where);
    if ((known.contentBytes?.(parsed) ?? 0) !== contentBytes) throw bad(where, 'its content does not fit its state');
  }
}

function checkThread({ tid, state, thread, cpu }: ThreadModel): void {
  checkAspects(state.aspects, threadAspects, `THREAD_STATE record of thread ${tid}`);
  decodeThread(thread, `THREAD record of thread ${tid}`);
  const { registers, debugRegisters, xstate, layout } = decodeCpu(cpu, `CPU record of thread ${tid}`);
  const fault = xstateFault(xstate, layout, MXCSR_MASK);
  const faults = [
    ...registerFaults(registers),
    ...debugRegisterFaults(debugRegisters),
    ...(fault === undefined ? [] : [fault]),
  ];
  if (faults.length > 0) throw new ImageError('bad-register', `CPU record of thread ${tid}: ${faults.join('; ')}.`);
}

function checkAspects(
  states: Readonly<Record<string, unknown>>,
  known: readonly { readonly name: string; readonly schema: StateSchema<unknown> }[],
  where: string,
): void {
  const unknown = Object.keys(states).find((name) => !known.some((aspect) => aspect.name === name));
  if (unknown !== undefined) throw bad(where, `this quicksave does not know its ${unknown}`);
  for (const { name, schema } of known) parseState(schema, states[name], `${where}: ${name}`);
}

const bad = (where: string, what: string): ImageError => new ImageError('bad-record', `${where}: ${what}.`);
