/**
 * What the schema finds wrong, in words for someone who has never seen the schema: which key, what was expected there,
 * what is there instead, what was probably meant. Pure; where it lies in the file is `load.ts`'s business.
 */
import { findSimilar } from "@optique/core/suggestion";
import type * as v from "valibot";
import { configSchema } from "./schema.ts";

export type Path = readonly (string | number)[];

export interface Fault {
  readonly code: "unknown-key" | "missing-key" | "wrong-value";
  readonly message: string;
  readonly path: Path;
  /** It is about the key, not its value. */
  readonly atKey?: boolean;
  readonly fix?: string;
}

/** What to write for keys that have to be there. */
const EXAMPLES: Readonly<Record<string, string>> = {
  "broker": `"broker": { "url": "mqtt://127.0.0.1:1883" }`,
  "broker.url": `"url": "mqtt://127.0.0.1:1883"`,
  "database":
    `"database": { "url": "mysql://sluice@127.0.0.1:3306/home" }, or "sqlite:home.db" for an embedded one`,
  "database.url": `"url": "mysql://sluice@127.0.0.1:3306/home", or "sqlite:home.db" for an embedded one`,
};

/** `above`: the path of the union that the issue was found in. */
export function faultsOf(issue: v.BaseIssue<unknown>, above: Path = []): Fault[] {
  const path = [...above, ...(issue.path ?? []).map((it) => it.key as string | number)];
  if (issue.type === "strict_object" && issue.expected === "never") return [unknownKey(path)];
  if (issue.type === "strict_object" && issue.received === "undefined") return [missingKey(path)];
  if (issue.type === "union" && issue.issues) return unionFaults(issue, path);
  return [{ code: "wrong-value", message: `${place(path)}: ${complaint(issue)}`, path, fix: meant(issue) }];
}

function unknownKey(path: Path): Fault {
  const parent = path.slice(0, -1);
  const known = keysAt(parent);
  const similar = findSimilar(String(path.at(-1)), known)[0];
  return {
    code: "unknown-key",
    message: `unknown key "${path.at(-1)}" in ${place(parent)}`,
    path,
    atKey: true,
    fix: similar ? `did you mean "${similar}"?` : `known keys: ${known.join(", ")}`,
  };
}

function missingKey(path: Path): Fault {
  const parent = path.slice(0, -1);
  const message = `"${path.at(-1)}" is missing in ${place(parent)}`;
  const example = EXAMPLES[path.join(".")];
  return { code: "missing-key", message, path: parent, fix: example && `write ${example}` };
}

/** A union fails in all its branches: the one that came furthest was meant, unless several did. */
function unionFaults(issue: v.BaseIssue<unknown>, path: Path): Fault[] {
  const depth = (it: v.BaseIssue<unknown>) => it.path?.length ?? 0;
  const most = Math.max(...issue.issues!.map(depth));
  const furthest = issue.issues!.filter((it) => depth(it) === most);
  const missing = furthest.filter((it) => it.type === "strict_object" && it.received === "undefined")
    .map((it) => it.path!.at(-1)!.key);
  if (missing.length > 1) {
    const keys = missing.map((key) => `{ "${key}": ... }`).join(" or ");
    return [{ code: "wrong-value", message: `${place(path)}: expected a text or ${keys}`, path }];
  }
  if (most > 0) return furthest.flatMap((it) => faultsOf(it, path));
  return [{ code: "wrong-value", message: `${place(path)}: ${complaint(issue)}`, path }];
}

function complaint({ kind, expected, received, message }: v.BaseIssue<unknown>): string {
  // A check of our own says it better; what it was given is said unless it has done so itself.
  if (kind === "transformation" || kind === "validation" && !message.startsWith("Invalid ")) {
    return kind === "validation" && /^must /.test(message)
      ? `${message}, here is ${inWords(received)}`
      : message;
  }
  return expected ? `expected ${inWords(expected)}, here is ${inWords(received)}` : message;
}

const WORDS: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  boolean: "true or false",
  Array: "a list in [ ]",
  Object: "an object in { }",
};

/** `("a" | "b" | Object)` as `"a", "b" or an object in { }`. */
function inWords(types: string): string {
  const words = types.replace(/^\((.*)\)$/s, "$1").split(" | ").map((it) => WORDS[it] ?? it);
  return words.length === 1 ? words[0] : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

function meant({ type, input, expected, ...issue }: v.BaseIssue<unknown>): string | undefined {
  if (type !== "picklist" || typeof input !== "string") return undefined;
  const values =
    (issue.requirement ?? [...(expected ?? "").matchAll(/"([^"]+)"/g)].map(([, it]) => it)) as unknown[];
  const similar = findSimilar(input, values.map(String))[0];
  return similar ? `did you mean "${similar}"?` : undefined;
}

/** A path of keys for people: `routes[0].columns.room`. */
export const place = (path: Path): string =>
  path.length === 0
    ? "the configuration"
    : path.map((it, i) => typeof it === "number" ? `[${it}]` : i === 0 ? it : `.${it}`).join("");

// deno-lint-ignore no-explicit-any -- schemas are walked by their shape
function keysAt(path: Path, schema: any = configSchema): string[] {
  while (schema?.pipe || schema?.wrapped) schema = schema.wrapped ?? schema.pipe[0];
  if (schema?.options) schema = schema.options.find((it: { entries?: unknown }) => it.entries);
  if (path.length === 0) return schema?.entries ? Object.keys(schema.entries) : [];
  const [key, ...rest] = path;
  return keysAt(rest, schema?.entries?.[key] ?? schema?.item ?? schema?.value);
}
