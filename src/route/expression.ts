/**
 * Expressions in CEL (https://cel.dev), compiled and type-checked once.
 *
 * Variables are the levels of the topic, under `each` the element's keys, `key` and `value`, the payload's keys, and
 * `payload`, which is all of it: where two have a name, the earlier one is meant. What is missing is NULL, and so is
 * what is computed from it. Numbers mix as people expect: integers and doubles in any operator, `9 / 5` is 1.8. Beside
 * CEL's own functions there are those of `functions.ts`.
 */
import { type ASTNode, Environment, type ParseResult } from "@marcbachmann/cel-js";
import { registerFunctions } from "./functions.ts";
import { shown, UnfitError } from "./unfit_error.ts";
import type { Scope, Source } from "./source.ts";

export interface Expression {
  /** Its type as far as it is known without a message: `bool`, `double`, `string`, ..., or `dyn`. */
  readonly type: string;
  /** Its value; null where something that it needs is missing. Throws `UnfitError`. */
  evaluate(source: Source): unknown;
}

const NAMES_OF_TYPES = [
  "bool",
  "bytes",
  "double",
  "int",
  "list",
  "map",
  "null_type",
  "string",
  "type",
  "uint",
];

const environment = new Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false });
const arithmetic: Readonly<Record<string, (a: number, b: number) => number>> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
  "%": (a, b) => a % b,
};
for (const [operator, compute] of Object.entries(arithmetic)) {
  const mixed = (a: number | bigint, b: number | bigint) => compute(Number(a), Number(b));
  environment.registerOperator(`double ${operator} int: double`, mixed);
  environment.registerOperator(`int ${operator} double: double`, mixed);
}
environment.registerOperator("double % double: double", arithmetic["%"]);
registerFunctions(environment);

/** Throws `TypeError` that says what is wrong with the text, and where. */
export function compileExpression(text: string, scope: Scope): Expression {
  const { run, type } = checked(text);
  const variables = [...new Set(nodesOf(run.ast).flatMap((it) => it.op === "id" ? [it.args] : []))]
    .map((name) => [name, variable(name, scope)] as const);
  return {
    type,
    evaluate(source) {
      const context = new Map<string, unknown>();
      for (const [name, read] of variables) context.set(name, read(source) ?? null);
      return evaluate(run, context);
    },
  };
}

/** `when`: true for what is to be stored; NULL is not. Throws as `compileExpression` does. */
export function compileCondition(text: string, scope: Scope): (source: Source) => boolean {
  const { type, evaluate } = compileExpression(text, scope);
  if (type !== "bool" && type !== "dyn") {
    throw new TypeError(
      `the expression "${text.trim()}" must be true or false, it gives a value of type ${type}`,
    );
  }
  return (source) => {
    let value: unknown;
    try {
      value = evaluate(source);
    } catch (error) {
      throw new UnfitError(`when: ${(error as Error).message}`);
    }
    if (typeof value === "boolean") return value;
    if (value === null) return false;
    throw new UnfitError(`when: ${shown(value)} is neither true nor false`);
  };
}

function checked(spaced: string): { run: ParseResult; type: string } {
  const text = spaced.trim();
  try {
    const run = environment.parse(withDoubles(text, environment.parse(text).ast));
    const asVariable = nodesOf(run.ast).find((it) => it.op === "id" && NAMES_OF_TYPES.includes(it.args));
    if (asVariable && !/\btype\(/.test(text)) {
      throw new TypeError(`"${asVariable.args}" is the name of a type: write payload.${asVariable.args}`);
    }
    const { valid, type, error } = run.check();
    if (!valid) throw error;
    return { run, type: type ?? "dyn" };
  } catch (error) {
    const { summary, message, range } = error as {
      summary?: string;
      message: string;
      range?: { start: number };
    };
    const place = range ? ` at character ${range.start + 1}` : "";
    throw new TypeError(`the expression "${text}" is wrong${place}: ${inWords(summary ?? message)}`);
  }
}

function variable(name: string, { levels, each }: Scope): (source: Source) => unknown {
  const level = levels.indexOf(name);
  if (level >= 0) return (source) => source.levels[level];
  if (name === "payload") return ({ payload }) => payload;
  if (!each) return ({ payload }) => own(payload, name);
  return ({ element, key, payload }) => {
    const inner = own(element, name);
    if (inner !== undefined) return inner;
    return name === "key" ? key : name === "value" ? element : own(payload, name);
  };
}

function own(value: unknown, key: string): unknown {
  if (value === null || typeof value !== "object" || !Object.hasOwn(value, key)) return undefined;
  return Array.isArray(value) ? undefined : (value as Record<string, unknown>)[key];
}

function evaluate(run: ParseResult, context: ReadonlyMap<string, unknown>): unknown {
  try {
    return fromCel(run(context));
  } catch (error) {
    if (error instanceof UnfitError) throw error;
    const { code, summary, message } = error as { code?: string; summary?: string; message: string };
    if (code === "no_such_key" || code === "index_out_of_bounds") return null;
    const said = summary ?? message;
    if (/\bnull\b/.test(said)) return null;
    const numbers = /\bstring\b/.test(said) ? withNumbers(context) : context;
    if (numbers !== context) return evaluate(run, numbers as typeof context);
    throw new UnfitError(inWords(said));
  }
}

const KINDS: Readonly<Record<string, string>> = {
  string: "text",
  double: "number",
  int: "number",
  uint: "number",
  bool: "truth value",
  map: "object",
  list: "array",
};

/** What CEL says of kinds that do not go together: "no such overload: dyn<string> > double". */
function inWords(said: string): string {
  if (/^Unexpected token: EOF/.test(said)) return "it ends too early";
  const call = /^found no matching overload for '(.+)'$/.exec(said)?.[1];
  if (call !== undefined) {
    return `there is no function ${call.replace(/(?<=[(,]\s*)[a-z]+(?=[,)])/g, (it) => KINDS[it] ?? it)}`;
  }
  const overload = /^no such overload: (.+)$/.exec(said)?.[1];
  if (overload === undefined) return said;
  const kinds = overload.replace(/dyn<([^<>]+)>/g, "$1").replace(/\b[a-z]+\b/g, (it) => KINDS[it] ?? it);
  return `${kinds} cannot be computed`;
}

/** From a value of CEL to one that a payload could have. */
function fromCel(value: unknown): unknown {
  if (typeof value === "bigint") return BigInt.asIntN(53, value) === value ? Number(value) : value;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(fromCel);
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  const name = value.constructor?.name;
  if (name === "UnsignedInt") return fromCel(value.valueOf());
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, it]) => [key, fromCel(it)]));
  if (name === undefined || name === "Object") {
    return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, fromCel(it)]));
  }
  throw new UnfitError(`an expression cannot give a ${name}: use string(), int() or double()`);
}

/** Decimals that a double cannot hold come as texts, so that columns get all digits; to compute, a double must do. */
const LONG_DECIMAL = /^-?\d+\.\d+$/;

/** The same value if there is no such decimal in it. */
function withNumbers(value: unknown): unknown {
  if (typeof value === "string") return value.length > 16 && LONG_DECIMAL.test(value) ? Number(value) : value;
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  const entries: [unknown, unknown][] = value instanceof Map ? [...value] : Object.entries(value);
  const changed = entries.map(([key, it]) => [key, withNumbers(it)] as [string, unknown]);
  if (changed.every(([, it], i) => it === entries[i][1])) return value;
  if (value instanceof Map) return new Map(changed);
  return Array.isArray(value) ? changed.map(([, it]) => it) : Object.fromEntries(changed);
}

/** The text with whole numbers written as doubles where CEL would cut a fraction off or refuse: `9 / 5`, `on ? 1 : 0.5`. */
function withDoubles(text: string, ast: ASTNode): string {
  const literals = new Set<ASTNode>();
  for (const node of nodesOf(ast)) {
    const candidates = node.op === "/"
      ? [node.args]
      : node.op === "?:"
      ? [[node.args[1]], [node.args[2]]]
      : [];
    for (const group of candidates) {
      if (group.every(isWhole)) { for (const it of group.flatMap(nodesOf)) literals.add(it); }
    }
  }
  let written = text;
  const ends = [...literals].filter((it) => it.op === "value").sort((a, b) => b.start - a.start);
  for (const { start, end, args } of ends) {
    written = `${written.slice(0, start)}${args}.0${written.slice(end)}`;
  }
  return written;
}

/** True for whole numbers and what is computed from them alone. */
function isWhole(node: ASTNode): boolean {
  if (node.op === "value") return typeof node.args === "bigint";
  if (node.op === "-_") return isWhole(node.args);
  return node.op in arithmetic && (node.args as ASTNode[]).every(isWhole);
}

/** A node and all below it. */
function nodesOf(node: ASTNode): ASTNode[] {
  const below = (args: unknown): ASTNode[] =>
    Array.isArray(args) ? args.flatMap(below) : isNode(args) ? nodesOf(args) : [];
  return [node, ...below(node.args)];
}

const isNode = (value: unknown): value is ASTNode =>
  typeof value === "object" && value !== null && "op" in value;
