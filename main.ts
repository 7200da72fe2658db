/**
 * Sluice: arguments in, exit code out.
 */
import { main } from "./src/cli/mod.ts";

Deno.exitCode = await main(Deno.args);
