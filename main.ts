/**
 * Sluice: arguments in, exit code out. Inside a worker this module does nothing: a bundle is its own worker's module.
 */
import { main } from "./src/cli/mod.ts";

declare const WorkerGlobalScope: unknown;

if (typeof WorkerGlobalScope === "undefined") Deno.exitCode = await main(Deno.args);
