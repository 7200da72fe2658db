/**
 * Routes: which topics go to which tables, and what becomes of a payload there.
 */
export { expandPreset, PRESET, type Preset } from "./preset.ts";
export { createRouter, type RouterOptions } from "./router.ts";
export { validateRoute } from "./validate.ts";
export { routesProblems, shapesOf } from "./router.ts";
