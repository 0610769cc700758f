// `npm test`: everything. Installs what the tests need where it may, builds, and runs all checks and all tests.
import { BUILD_STEP, OK_STEPS, runSteps, SETUP_STEP, SYSTEM_STEP } from './steps.mjs';

runSteps([SETUP_STEP, BUILD_STEP, ...OK_STEPS, SYSTEM_STEP]);
