/**
 * From a file to a configuration, or to everything that is wrong with it: all errors in one run, each with its place.
 *
 * JSON with comments and trailing commas. Nothing is used of a file with an error in it. Relative paths are relative
 * to the file's folder.
 */
import { findSimilar } from "@optique/core/suggestion";
import { findNodeAtLocation, type Node, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";
import { dirname, isAbsolute, resolve } from "node:path";
import * as v from "valibot";
import { ConfigurationError, messageOf } from "../errors.ts";
import { brokerAddress } from "../mqtt/broker_options.ts";
import { databaseAddress } from "../mysql/address.ts";
import { tableLimits } from "../mysql/limits.ts";
import { expandPreset, routesProblems, shapesOf, validateRoute } from "../route/mod.ts";
import type { RouteOptions } from "../route/options.ts";
import { formatDuration, parseDuration } from "../units.ts";
import { type Finding, placeOf } from "./finding.ts";
import { type Config, configSchema, DEFAULT_ROUTE } from "./schema.ts";

export interface LoadedConfig {
  /** Its routes are those that presets stand for. */
  readonly config: Config;
  /** Of each route: the index of the one in the file that it was made from. */
  readonly madeFrom: readonly number[];
  readonly warnings: readonly Finding[];
  readonly path: string;
  readonly source: string;
}

/** The configuration is wrong; `findings` says everything that is. */
export class WrongConfigurationError extends ConfigurationError {
  readonly findings: readonly Finding[];
  readonly source: string | undefined;
  constructor(
    message: string,
    findings: readonly Finding[],
    source: string | undefined,
    options?: ErrorOptions & { hint?: string },
  ) {
    super(message, options);
    this.findings = findings;
    this.source = source;
  }
}

type Path = readonly (string | number)[];

/** Reads and checks a file. Throws `WrongConfigurationError`. */
export async function loadConfig(path: string): Promise<LoadedConfig> {
  return parseConfig(await readSource(path), path);
}

async function readSource(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    const missing = cause instanceof Deno.errors.NotFound;
    const reason = missing
      ? "there is no such file"
      : cause instanceof Deno.errors.IsADirectory || /is a directory/i.test(messageOf(cause))
      ? "it is a folder"
      : messageOf(cause);
    throw new WrongConfigurationError(`the configuration ${path} cannot be read: ${reason}`, [], undefined, {
      cause,
      hint: missing ? "`sluice init` writes a first one" : undefined,
    });
  }
}

/** As `loadConfig`, of a text. `path` names it and is what relative paths are relative to. */
export function parseConfig(source: string, path: string): LoadedConfig {
  const reader = new Reader(source.replace(/^\uFEFF/, ""), path);
  const config = reader.read();
  const errors = reader.findings.filter((it) => it.severity === "error");
  if (errors.length > 0 || !config) {
    const count = errors.length === 1 ? "1 error" : `${errors.length} errors`;
    throw new WrongConfigurationError(`${count} in ${path}`, reader.findings, reader.source);
  }
  const { madeFrom, findings, source: text } = reader;
  return { config, madeFrom, warnings: findings, path, source: text };
}

class Reader {
  readonly source: string;
  readonly findings: Finding[] = [];
  madeFrom: readonly number[] = [];
  readonly #path: string;
  #root: Node | undefined;

  constructor(source: string, path: string) {
    this.source = source;
    this.#path = path;
  }

  read(): Config | undefined {
    const errors: ParseError[] = [];
    this.#root = parseTree(this.source, errors, { allowTrailingComma: true });
    // The first one is where it went wrong; the others mostly follow from it.
    for (const { error, offset, length } of errors.slice(0, 1)) {
      const words = printParseErrorCode(error).replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
      this.#report("error", "syntax", `not JSON: ${words}`, offset, Math.max(1, length));
    }
    if (errors.length > 0) return undefined;
    if (!this.#root) {
      return void this.#report("error", "syntax", "the file is empty: expected a JSON object", 0, 1);
    }
    if (this.#root.type !== "object") {
      return void this.#report(
        "error",
        "syntax",
        `expected a JSON object in braces, here is ${
          this.#root.type === "array" ? "an array" : `a ${this.#root.type}`
        }`,
        this.#root.offset,
        1,
      );
    }
    const result = v.safeParse(configSchema, valueOf(this.#root), { abortPipeEarly: true });
    if (!result.success) { for (const issue of result.issues) this.#issue(issue); }
    this.#checkUrls();
    this.#checkRoutes();
    return result.success ? this.#complete(result.output) : undefined;
  }

  #complete(parsed: v.InferOutput<typeof configSchema>): Config {
    const name = parsed.name ?? hostname();
    const near = (file: string | undefined) =>
      file === undefined || isAbsolute(file) ? file : resolve(dirname(resolve(this.#path)), file);
    const tls = <T extends { ca?: string; cert?: string; key?: string } | undefined>(it: T): T =>
      it && { ...it, ca: near(it.ca), cert: near(it.cert), key: near(it.key) };
    const { url } = parsed.database;
    const made = (parsed.routes ?? [DEFAULT_ROUTE]).map(expandPreset);
    this.madeFrom = made.flatMap((routes, i) => routes.map(() => i));
    return {
      ...parsed,
      name,
      broker: {
        ...parsed.broker,
        clientId: parsed.broker.clientId ?? `sluice-${name}`,
        tls: tls(parsed.broker.tls),
      },
      database: {
        ...parsed.database,
        url: url.startsWith("sqlite:") ? `sqlite:${near(url.slice("sqlite:".length))}` : url,
        tls: tls(parsed.database.tls),
      },
      spool: { ...parsed.spool, path: near(parsed.spool.path)! },
      routes: made.flat(),
    };
  }

  /** What only the routes themselves can know; runs on what is well-formed, so that nothing is reported twice. */
  #checkRoutes(): void {
    const routes = this.#root && findNodeAtLocation(this.#root, ["routes"]);
    const seen = new Map<string, number>();
    const good: { readonly route: RouteOptions; readonly at: number }[] = [];
    routes?.children?.forEach((node, i) => {
      const value = valueOf(node) as RouteOptions;
      if (node.type !== "object") return;
      const problems = problemsOf(value);
      for (const { path, message } of problems ?? []) {
        this.#at("error", "route", message, ["routes", i, ...path]);
      }
      if (problems?.length === 0) good.push({ route: value, at: i });
      const key = JSON.stringify([value.topic, value.preset, value.table]);
      const twin = seen.get(key);
      if (twin !== undefined) {
        const message =
          `the same topic goes to the same table as in routes[${twin}]: each message makes two rows`;
        this.#at("warning", "duplicate-route", message, ["routes", i]);
      } else seen.set(key, i);
    });
    this.#checkTables(good);
  }

  /** What only the routes to a table together, and its database, can know to be wrong. */
  #checkTables(good: readonly { readonly route: RouteOptions; readonly at: number }[]): void {
    const made = good.flatMap(({ route, at }) =>
      expandPreset(withMs(route)).map((it) => ({ route: it, at }))
    );
    const routes = made.map((it) => it.route);
    const url = this.#root && findNodeAtLocation(this.#root, ["database", "url"])?.value;
    const isMysql = typeof url === "string" && !url.startsWith("sqlite:");
    const found = [
      ...routesProblems(routes, formatDuration),
      ...(isMysql ? tableLimits(shapesOf(routes)) : []),
    ];
    for (const { route, path, message } of found) {
      this.#at("error", "route", message, ["routes", made[route].at, ...path]);
    }
  }

  /** URLs are read by those who use them. */
  #checkUrls(): void {
    const attempt = (path: string[], check: (url: string) => void) => {
      const node = this.#root && findNodeAtLocation(this.#root, path);
      if (node?.type !== "string") return;
      try {
        check(node.value);
      } catch (error) {
        const hint = error instanceof ConfigurationError ? error.hint : undefined;
        this.#at("error", "wrong-value", messageOf(error), path, { fix: hint });
      }
    };
    attempt(["broker", "url"], brokerAddress);
    attempt(["database", "url"], databaseAddress);
  }

  /** `above`: the path of the union that the issue was found in. */
  #issue(issue: v.BaseIssue<unknown>, above: Path = []): void {
    const path = [...above, ...(issue.path ?? []).map((it) => it.key as string | number)];
    const key = path.at(-1);
    if (issue.type === "strict_object" && issue.expected === "never") {
      const parent = path.slice(0, -1);
      const similar = findSimilar(String(key), keysAt(parent))[0];
      this.#at("error", "unknown-key", `unknown key "${key}" in ${place(parent)}`, path, {
        key: true,
        fix: similar ? `did you mean "${similar}"?` : `known keys: ${keysAt(parent).join(", ")}`,
      });
    } else if (issue.type === "strict_object" && issue.received === "undefined") {
      this.#at(
        "error",
        "missing-key",
        `"${key}" is missing in ${place(path.slice(0, -1))}`,
        path.slice(0, -1),
      );
    } else if (issue.type === "union" && issue.issues) {
      this.#union(issue, path);
    } else {
      const expected = issue.expected
        ? `expected ${issue.expected.replaceAll("|", "or")}, here is ${issue.received}`
        : issue.message;
      const values = issue.type === "picklist"
        ? (issue.requirement ?? expectedValues(issue)) as string[]
        : [];
      const similar = typeof issue.input === "string"
        ? findSimilar(issue.input, values.map(String))[0]
        : undefined;
      this.#at("error", "wrong-value", `${place(path)}: ${expected}`, path, {
        fix: similar ? `did you mean "${similar}"?` : undefined,
      });
    }
  }

  /** A union fails in all its branches: the one that came furthest was meant, unless several did. */
  #union(issue: v.BaseIssue<unknown>, path: Path): void {
    const depth = (it: v.BaseIssue<unknown>) => it.path?.length ?? 0;
    const most = Math.max(...issue.issues!.map(depth));
    const furthest = issue.issues!.filter((it) => depth(it) === most);
    const missing = furthest.filter((it) => it.type === "strict_object" && it.received === "undefined").map((
      it,
    ) => it.path!.at(-1)!.key);
    if (missing.length > 1) {
      const keys = missing.map((key) => `{ "${key}": ... }`).join(" or ");
      this.#at("error", "wrong-value", `${place(path)}: expected a text or ${keys}`, path);
    } else if (most === 0) {
      this.#at(
        "error",
        "wrong-value",
        `${place(path)}: expected ${String(issue.expected).replaceAll("|", "or")}, here is ${issue.received}`,
        path,
      );
    } else for (const inner of furthest) this.#issue(inner, path);
  }

  /** Reports at the node of `path`, or at the nearest one above that exists. */
  #at(
    severity: Finding["severity"],
    code: string,
    message: string,
    path: Path,
    { key = false, fix }: { key?: boolean; fix?: string } = {},
  ): void {
    let node: Node | undefined;
    for (let length = path.length; !node && length >= 0; length--) {
      node = length === 0
        ? this.#root
        : findNodeAtLocation(this.#root!, path.slice(0, length) as (string | number)[]);
    }
    const shown = key && node?.parent?.type === "property" ? node.parent.children![0] : node!;
    const firstLine = this.source.slice(shown.offset, shown.offset + shown.length).split("\n")[0];
    this.#report(severity, code, message, shown.offset, firstLine.length, fix);
  }

  #report(
    severity: Finding["severity"],
    code: string,
    message: string,
    offset: number,
    length: number,
    fix?: string,
  ): void {
    const { line } = placeOf(this.source, offset);
    if (code === "route" && this.findings.some((it) => it.line === line && it.message.endsWith(message))) {
      return;
    }
    this.findings.push({
      severity,
      code,
      message,
      file: this.#path,
      ...placeOf(this.source, offset),
      length,
      fix,
    });
  }
}

/** Where a key's value, or the nearest one above that exists, lies in a file that was read without an error. */
export function placeInFile(source: string, path: Path): { offset: number; length: number } {
  const root = parseTree(source, [], { allowTrailingComma: true })!;
  for (let length = path.length; length > 0; length--) {
    const node = findNodeAtLocation(root, path.slice(0, length) as (string | number)[]);
    if (node) {
      return {
        offset: node.offset,
        length: source.slice(node.offset, node.offset + node.length).split("\n")[0].length,
      };
    }
  }
  return { offset: root.offset, length: 1 };
}

/** Undefined for a route of the wrong shape, which has been reported already. */
function problemsOf(route: RouteOptions): ReturnType<typeof validateRoute> | undefined {
  try {
    const problems = validateRoute(route);
    // Whether it compiles at all: what is only of the wrong type is the schema's business.
    if (problems.length === 0) shapesOf(expandPreset(withMs(route)));
    return problems;
  } catch {
    return undefined;
  }
}

/** As the schema has it, where the duration is one. */
function withMs(route: RouteOptions): RouteOptions {
  const { retention, ...rest } = route as RouteOptions & { readonly retention?: unknown };
  return typeof retention === "string" ? { ...rest, retentionMs: parseDuration(retention) } : rest;
}

/** The value of a node, with `__proto__` as an ordinary key. */
function valueOf(node: Node): unknown {
  if (node.type === "array") return (node.children ?? []).map(valueOf);
  if (node.type !== "object") return node.value;
  const value: Record<string, unknown> = {};
  for (const { children } of node.children ?? []) {
    Object.defineProperty(value, children![0].value, {
      value: valueOf(children![1]),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return value;
}

const place = (path: Path) =>
  path.length === 0
    ? "the configuration"
    : path.map((it, i) => typeof it === "number" ? `[${it}]` : i === 0 ? it : `.${it}`).join("");

function expectedValues(issue: v.BaseIssue<unknown>): string[] {
  return [...(issue.expected ?? "").matchAll(/"([^"]+)"/g)].map(([, name]) => name);
}

// deno-lint-ignore no-explicit-any -- schemas are walked by their shape
function keysAt(path: Path, schema: any = configSchema): string[] {
  while (schema?.pipe || schema?.wrapped) schema = schema.wrapped ?? schema.pipe[0];
  if (schema?.options) schema = schema.options.find((it: { entries?: unknown }) => it.entries);
  if (path.length === 0) return schema?.entries ? Object.keys(schema.entries) : [];
  const [key, ...rest] = path;
  return keysAt(rest, schema?.entries?.[key] ?? schema?.item ?? schema?.value);
}

function hostname(): string {
  try {
    return Deno.hostname();
  } catch {
    return "sluice";
  }
}
