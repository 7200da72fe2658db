/**
 * Makes dist/sluice.js, the whole program in one file: `deno task bundle`.
 *
 * Its threads' modules are in it as texts (`src/thread.ts`), so that each loads only what it runs. Names stay, since without
 * them mysql2 does not end its connections; it is ASCII, which V8 keeps in half the memory.
 */
const ROOT = new URL("../", import.meta.url).pathname;

/** By the threads' names. */
const THREADS = { "sluice-spool": "src/spool/worker.ts", "sluice-sqlite": "src/sqlite/worker.ts" };

async function run(args: readonly string[]): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), { args: [...args], cwd: ROOT }).output();
  if (!success) throw new Error(`deno ${args.join(" ")} failed`);
}

async function bundle(module: string): Promise<string> {
  const file = await Deno.makeTempFile({ suffix: ".js" });
  try {
    await run(["bundle", "--quiet", "-o", file, module]);
    const esbuild = ["run", "-A", "npm:esbuild@0.25.10", file, "--allow-overwrite", `--outfile=${file}`];
    await run([
      ...esbuild,
      ...["--minify-whitespace", "--charset=ascii", "--format=esm", "--platform=node", "--log-level=warning"],
    ]);
    return await Deno.readTextFile(file);
  } finally {
    await Deno.remove(file);
  }
}

/** A text as an ASCII literal. */
function literal(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const threads = await Promise.all(
  Object.entries(THREADS).map(async ([name, module]) => `${literal(name)}:${literal(await bundle(module))}`),
);
const program = await bundle("main.ts");
await Deno.mkdir(`${ROOT}dist`, { recursive: true });
// Whoever runs the bundle meanwhile keeps the old one.
await Deno.writeTextFile(`${ROOT}dist/sluice.js.new`, `globalThis.SLUICE_THREADS={${threads}};\n${program}`);
await Deno.rename(`${ROOT}dist/sluice.js.new`, `${ROOT}dist/sluice.js`);
