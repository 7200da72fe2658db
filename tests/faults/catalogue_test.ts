/** The fault catalogue is whole, and its tests are there: read from their source, because a title says what is tested. */
import assert from "node:assert/strict";
import { CATALOGUE, type Proof } from "./catalogue.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const ROWS = 60;

/** The text of a literal, or of several in a row; what a template fills in becomes `...`. */
function textOf(node: Deno.lint.Node): string | undefined {
  if (node.type === "Literal" && typeof node.value === "string") return node.value;
  if (node.type === "TemplateLiteral") return node.quasis.map(({ cooked }) => cooked).join("...");
  if (node.type !== "BinaryExpression") return undefined;
  const [left, right] = [textOf(node.left), textOf(node.right)];
  return left === undefined || right === undefined ? undefined : left + right;
}

/** The title in `Deno.test({ name, fn })`. */
function nameOf(node: Deno.lint.Node): string | undefined {
  if (node.type !== "ObjectExpression") return undefined;
  for (const it of node.properties) {
    if (it.type === "Property" && it.key.type === "Identifier" && it.key.name === "name") {
      return textOf(it.value);
    }
  }
}

/** Titles of the tests in a source text: the first text in a call that has a function as well. */
function titlesOf(file: string, text: string): string[] {
  const titles: string[] = [];
  const create = () => ({
    CallExpression({ arguments: given }: { arguments: Deno.lint.Node[] }) {
      const runs = given.some(({ type }) => type === "ArrowFunctionExpression" || type === "Identifier");
      const title = given.map(runs ? textOf : nameOf).find((it) => it !== undefined);
      if (title !== undefined) titles.push(title);
    },
  });
  Deno.lint.runPlugin({ name: "titles", rules: { titles: { create } } }, file, text);
  return titles;
}

const known = new Map<string, string[]>();

function titles(file: string): string[] {
  let found = known.get(file);
  if (!found) known.set(file, found = titlesOf(file, Deno.readTextFileSync(ROOT + file)));
  return found;
}

/** Numbers there are those of the pool's rules. */
const OTHER_NUMBERS = ["tests/pool", "tests/mysql"];

function* testFiles(folder = "tests"): Generator<string> {
  if (OTHER_NUMBERS.includes(folder)) return;
  for (const { name, isDirectory } of Deno.readDirSync(ROOT + folder)) {
    if (isDirectory) yield* testFiles(`${folder}/${name}`);
    else if (name.endsWith("_test.ts")) yield `${folder}/${name}`;
  }
}

const carries = (file: string, number: number) => titles(file).some((it) => it.startsWith(`${number}: `));

/** What is missing of a proof; undefined where it is there. */
function missing(number: number, proof: Proof): string | undefined {
  const [file, title] = typeof proof === "string" ? [proof] : proof;
  try {
    if (title === undefined ? carries(file, number) : titles(file).includes(title)) return;
  } catch (error) {
    return `${file}: ${(error as Error).message}`;
  }
  return `${file} has no test ${title === undefined ? `"${number}: ..."` : `"${title}"`}`;
}

Deno.test("the catalogue has each of its rows once, in order", () => {
  assert.deepEqual(CATALOGUE.map(({ number }) => number), Array.from({ length: ROWS }, (_, n) => n + 1));
});

for (const { number, fault, proofs, untested } of CATALOGUE) {
  Deno.test({
    name: `row ${number} of the catalogue is tested: ${fault}`,
    fn: () => {
      assert.deepEqual(proofs.map((it) => missing(number, it)).filter((it) => it !== undefined), []);
      const named = proofs.length > 0 || untested !== undefined;
      assert.ok(named || [...testFiles()].some((it) => carries(it, number)), `no test "${number}: ..."`);
    },
  });
}

Deno.test("every test whose title carries a number is named in its row, where the row names any", () => {
  const offences: string[] = [];
  for (const file of testFiles()) {
    for (const title of titles(file)) {
      const number = Number(/^(\d+): /.exec(title)?.[1]);
      if (!number) continue;
      const { proofs = ["none"] } = CATALOGUE[number - 1] ?? {};
      if (proofs.length > 0 && !proofs.includes(file)) offences.push(`${file}: ${title}`);
    }
  }
  assert.deepEqual(offences, []);
});

Deno.test("titles are found in calls with a function, in plain texts and in templates", () => {
  const text = 'Deno.test("a b", () => {});\ntestWith(["x"], `7: c ${d} e`, fn);\ncall("no title");\n' +
    "// Deno.test('8: not one', f)\nt.step(`${n}: f`, async () => {});\n" +
    'testWith(["x"], "9: g " + `h ${i}`, fn);\nDeno.test({ name: "j", fn });\n';
  assert.deepEqual(titlesOf("x_test.ts", text), ["a b", "7: c ... e", "...: f", "9: g h ...", "j"]);
  assert.match(missing(61, "tests/faults/catalogue_test.ts")!, /has no test "61: \.\.\."/);
  assert.match(missing(1, ["tests/faults/catalogue_test.ts", "a test that was taken away"])!, /has no test/);
  assert.match(missing(1, "tests/faults/no_such_test.ts")!, /No such file/);
});
