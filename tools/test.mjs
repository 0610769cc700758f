// `npm test`: everything. Installs what the tests need where it may, builds, and runs all checks and all tests.
import { BUILD_STEP, OK_STEPS, runSteps, SETUP_STEPS, SYSTEM_STEP } from './steps.mjs';

runSteps([...SETUP_STEPS, BUILD_STEP, ...OK_STEPS, SYSTEM_STEP]);
