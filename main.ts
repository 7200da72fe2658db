/**
 * Sluice: arguments in, exit code out. A bundle is also its own workers' module: then it loads what that worker is, and
 * nothing else, so that the program is not in memory three times.
 */
declare const WorkerGlobalScope: unknown;

if (typeof WorkerGlobalScope === "undefined") {
  const { main } = await import("./src/cli/mod.ts");
  Deno.exitCode = await main(Deno.args);
} else {
  const { name } = globalThis as unknown as { name: string };
  if (name.includes("spool")) await import("./src/spool/worker.ts");
  else await import("./src/sqlite/worker.ts");
}
