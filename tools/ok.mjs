// `npm run ok`: format, lint, types, layers, unit and abi tests. Needs no root and no build.
import { OK_STEPS, runSteps } from './steps.mjs';

runSteps(OK_STEPS);
