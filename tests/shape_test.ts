/**
 * The picture of the house, checked against the code, so that it cannot drift: who may import whom, how long a file
 * and a function may be, what lies at the top level, what a file may be called, how a file begins.
 *
 * A failure lists every offence with its place. It reads the syntax tree of deno's own linter.
 */
import assert from "node:assert/strict";
import { join } from "node:path/posix";

const ROOT = new URL("..", import.meta.url).pathname;

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;

const TOP_LEVEL = ["LICENSE", "README.md", "config", "deno.json", "deno.lock", "main.ts", "src", "tests"];
const VAGUE_NAMES = /(^|[_.\-/])(utils?|helpers?|common|managers?|base|impl)([_.\-/]|$)/;

/** The parts never import each other, with two exceptions. */
const PARTS = ["mqtt", "spool", "route", "decode", "pool", "mysql", "sqlite"];

/**
 * What each folder of src/ may import besides itself and the nouns, which are the files directly in src/.
 * `gateway` is src/gateway.ts with its folder.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  main: ["cli"],
  cli: ["gateway", "config", "status", "discover", "demo", ...PARTS],
  gateway: ["config", "status", ...PARTS],
  config: ["status", ...PARTS],
  status: PARTS,
  discover: PARTS,
  demo: PARTS,
  mysql: ["pool"],
  route: ["decode"],
  mqtt: [],
  spool: [],
  decode: [],
  pool: [],
  sqlite: [],
  nouns: [],
};

interface Import {
  readonly specifier: string;
  readonly line: number;
}

interface Length {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

interface Shape {
  readonly imports: Import[];
  readonly functions: Length[];
}

const files = new Map<string, string>();
for (const file of ["main.ts", ...walk("src"), ...walk("tests")]) {
  if (exists(file) && /\.(ts|js|css|html)$/.test(file) && !file.includes("__snapshots__")) {
    files.set(file, Deno.readTextFileSync(ROOT + file));
  }
}

const code = [...files].filter(([file]) => /\.[tj]s$/.test(file));
const program = code.filter(([file]) => !file.startsWith("tests/"));

Deno.test("imports go downwards only", () => {
  const offences = program.flatMap(([file, text]) =>
    shapeOf(file, text).imports.map((each) => importOffence(file, each)).filter((offence) =>
      offence !== undefined
    )
  );
  assertNone(offences, "these imports go up or sideways");
});

Deno.test(`a file ends at ${FILE_LINES_MAX} lines`, () => {
  const offences = [...files].map(([file, text]) => ({ file, lines: lineOf(text, text.length) - 1 }))
    .filter(({ lines }) => lines > FILE_LINES_MAX)
    .map(({ file, lines }) => `${file}: ${lines} lines`);
  assertNone(offences, `these files are longer than ${FILE_LINES_MAX} lines; they hold more than one noun`);
});

Deno.test(`a function ends at ${FUNCTION_LINES_MAX} lines`, () => {
  const offences = code.flatMap(([file, text]) =>
    shapeOf(file, text).functions
      .filter(({ lines }) => lines > FUNCTION_LINES_MAX)
      .map(({ name, line, lines }) => `${file}:${line}: ${name} has ${lines} lines`)
  );
  assertNone(offences, `these functions are longer than ${FUNCTION_LINES_MAX} lines`);
});

Deno.test("the top level holds what it always held, and hidden files", () => {
  const offences = topLevel().filter((name) => !name.startsWith(".") && !TOP_LEVEL.includes(name));
  assertNone(
    offences,
    `the top level is ${TOP_LEVEL.join(", ")} and hidden files; this does not belong there`,
  );
});

Deno.test("a file is called after its noun", () => {
  const offences = [...walk("src"), ...walk("tests")].filter((file) => VAGUE_NAMES.test(file));
  assertNone(offences, "these names say nothing: util, helper, common, manager, base, impl");
});

Deno.test("a file of the program opens with a paragraph about itself", () => {
  const offences = program.filter(([, text]) => !text.startsWith("/**\n * ")).map(([file]) => file);
  assertNone(offences, "these files do not begin with a doc comment: what it is, promises, does not do");
});

Deno.test("the checks themselves see an upward import, a long function and a vague name", () => {
  const text = `import a from "../gateway.ts";\nexport * from "../pool/pool.ts";\nexport function f() {\n${
    "a();\n".repeat(FUNCTION_LINES_MAX)
  }}\nawait import("../clock.ts");\n`;
  const { imports, functions } = shapeOf("src/spool/x.ts", text);
  assert.deepEqual(imports.map((each) => importOffence("src/spool/x.ts", each) !== undefined), [
    true,
    true,
    false,
  ]);
  assert.deepEqual(functions, [{ name: "f", line: 3, lines: FUNCTION_LINES_MAX + 2 }]);
  assert.equal(importOffence("src/mysql/x.ts", { specifier: "../pool/pool.ts", line: 1 }), undefined);
  assert.match(importOffence("src/new/x.ts", { specifier: "../clock.ts", line: 1 })!, /not in the picture/);
  assert.match(importOffence("src/pool/x.ts", { specifier: "../../tests/a.ts", line: 1 })!, /out of src/);
  assert.ok(VAGUE_NAMES.test("src/pool/pool_utils.ts") && !VAGUE_NAMES.test("src/database.ts"));
});

function assertNone(offences: readonly string[], sentence: string): void {
  assert.ok(offences.length === 0, `${sentence}:\n  ${offences.join("\n  ")}\n`);
}

/** What is wrong with an import, as `file:line: sentence`; undefined where it is right. */
function importOffence(file: string, { specifier, line }: Import): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const target = join(file, "..", specifier);
  const place = `${file}:${line}: `;
  if (!target.startsWith("src/")) return `${place}${specifier} leads out of src/`;
  const [from, to] = [placeOf(file), placeOf(target)];
  for (const folder of [from, to]) {
    if (!(folder in MAY_IMPORT)) {
      return `${place}src/${folder}/ is not in the picture (MAY_IMPORT in ${SELF})`;
    }
  }
  if (from === to || to === "nouns" || MAY_IMPORT[from]!.includes(to)) return undefined;
  const may = ["nouns", ...MAY_IMPORT[from]!].join(", ");
  return `${place}${from} must not import ${to} (${specifier}); it may import ${may}`;
}

const SELF = "tests/shape_test.ts";

function placeOf(file: string): string {
  if (file === "main.ts") return "main";
  const [, first, second] = file.split("/");
  if (first === "gateway.ts") return "gateway";
  return second === undefined ? "nouns" : first!;
}

/** Imports and functions of a source text. */
function shapeOf(file: string, text: string): Shape {
  const shape: Shape = { imports: [], functions: [] };
  const seen = (node: { source: Deno.lint.Node | null }) => {
    const { source } = node;
    if (source?.type !== "Literal" || typeof source.value !== "string") return;
    shape.imports.push({ specifier: source.value, line: lineOf(text, source.range[0]) });
  };
  const measure = (node: Deno.lint.Node) => {
    const [from, to] = node.range;
    const line = lineOf(text, from);
    shape.functions.push({ name: nameOf(node, text), line, lines: lineOf(text, to) - line + 1 });
  };
  const create = () => ({
    ImportDeclaration: seen,
    ExportAllDeclaration: seen,
    ExportNamedDeclaration: seen,
    ImportExpression: seen,
    FunctionDeclaration: measure,
    FunctionExpression: measure,
    ArrowFunctionExpression: measure,
  });
  const diagnostics = Deno.lint.runPlugin({ name: "shape", rules: { shape: { create } } }, file, text);
  assert.deepEqual(diagnostics, []);
  return shape;
}

/** A function's own name, or its first line. */
function nameOf(node: Deno.lint.Node, text: string): string {
  if ("id" in node && node.id && "name" in node.id) return String(node.id.name);
  const start = text.lastIndexOf("\n", node.range[0]) + 1;
  return text.slice(start, text.indexOf("\n", start)).trim().slice(0, 60);
}

function lineOf(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** Names at the top level that belong to the repository: what git does not ignore, or everything but build output. */
function topLevel(): string[] {
  const built = ["dist", "coverage", "node_modules"];
  try {
    const args = ["ls-files", "--cached", "--others", "--exclude-standard"];
    const { success, stdout } = new Deno.Command("git", { args, cwd: ROOT, stderr: "null" }).outputSync();
    if (success) {
      const listed = new TextDecoder().decode(stdout).split("\n").filter(Boolean).map((path) =>
        path.split("/")[0]!
      );
      return [...new Set(listed)].filter(exists);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return [...Deno.readDirSync(ROOT)].map(({ name }) => name).filter((name) => !built.includes(name));
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(ROOT + path);
    return true;
  } catch {
    return false;
  }
}

function* walk(dir: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(ROOT + dir)) {
    if (isDirectory) yield* walk(`${dir}/${name}`);
    else yield `${dir}/${name}`;
  }
}
