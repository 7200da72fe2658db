/**
 * From a file to a configuration, or to everything that is wrong with it: all errors in one run, each with its place.
 *
 * JSON with comments and trailing commas. Nothing is used of a file with an error in it. Relative paths are relative
 * to the file's folder.
 */
import { findNodeAtLocation, type Node, parseTree } from "jsonc-parser";
import { dirname, resolve } from "node:path";
import * as v from "valibot";
import { ConfigurationError, messageOf } from "../errors.ts";
import { brokerAddress } from "../mqtt/broker_options.ts";
import { databaseAddress } from "../mysql/address.ts";
import { tableLimits } from "../mysql/limits.ts";
import { expandPreset, routesProblems, shapesOf, validateRoute } from "../route/mod.ts";
import type { RouteOptions } from "../route/options.ts";
import { formatDuration, parseDuration } from "../units.ts";
import { fileFault, fileHint } from "./file_fault.ts";
import { type Finding, placeOf } from "./finding.ts";
import { faultsOf, type Path } from "./issue.ts";
import { type Config, configSchema, DEFAULT_ROUTE } from "./schema.ts";
import { shareProblems } from "./shares.ts";
import { readTree } from "./syntax.ts";

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

/** Reads and checks a file. Throws `WrongConfigurationError`. */
export async function loadConfig(path: string): Promise<LoadedConfig> {
  return parseConfig(await readSource(path), path);
}

async function readSource(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    const missing = cause instanceof Deno.errors.NotFound;
    throw new WrongConfigurationError(
      `the configuration ${path} cannot be read: ${fileFault(cause)}`,
      [],
      undefined,
      {
        cause,
        hint: missing ? "`sluice init` writes a first one" : fileHint(cause, path),
      },
    );
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
    const { root, faults } = readTree(this.source);
    this.#root = root;
    for (const { code, message, offset, length, fix } of faults) {
      this.#report("error", code, message, offset, length, fix);
    }
    if (!root) return undefined;
    const result = v.safeParse(configSchema, valueOf(root), { abortPipeEarly: true });
    for (const issue of result.issues ?? []) {
      for (const { code, message, path, atKey, fix } of faultsOf(issue)) {
        this.#at("error", code, message, path, { key: atKey, fix });
      }
    }
    this.#checkUrls();
    this.#checkRoutes();
    return result.success ? this.#complete(result.output) : undefined;
  }

  #complete(parsed: v.InferOutput<typeof configSchema>): Config {
    const name = parsed.name ?? hostname();
    const dir = dirname(resolve(this.#path));
    const near = (file: string | undefined) => file === undefined ? file : resolve(dir, file);
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
        password: parsed.broker.password?.in(dir),
        tls: tls(parsed.broker.tls),
      },
      database: {
        ...parsed.database,
        url: url.startsWith("sqlite:") ? `sqlite:${near(url.slice("sqlite:".length))}` : url,
        password: parsed.database.password?.in(dir),
        tls: tls(parsed.database.tls),
      },
      spool: { ...parsed.spool, path: near(parsed.spool.path)! },
      status: parsed.status && { ...parsed.status, token: parsed.status.token?.in(dir) },
      routes: made.flat(),
    };
  }

  /** What only the routes themselves can know; runs on what is well-formed, so that nothing is reported twice. */
  #checkRoutes(): void {
    const routes = this.#root && findNodeAtLocation(this.#root, ["routes"]);
    const good: { readonly route: RouteOptions; readonly at: number }[] = [];
    routes?.children?.forEach((node, i) => {
      const value = valueOf(node) as RouteOptions;
      if (node.type !== "object") return;
      const problems = problemsOf(value);
      for (const { path, message } of problems ?? []) {
        this.#at("error", "route", message, ["routes", i, ...path]);
      }
      if (problems?.length === 0) good.push({ route: value, at: i });
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
      ...shareProblems(routes),
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

/** Many places are asked for in one file. */
let lastTree: { readonly source: string; readonly root: Node } | undefined;

/**
 * Where a key's value, or the nearest one above that exists, lies in a file that was read without an error. `found`: it
 * is that value itself.
 */
export function placeInFile(source: string, path: Path): { offset: number; length: number; found: boolean } {
  if (source !== lastTree?.source) {
    lastTree = { source, root: parseTree(source, [], { allowTrailingComma: true })! };
  }
  const { root } = lastTree;
  for (let length = path.length; length > 0; length--) {
    const node = findNodeAtLocation(root, path.slice(0, length) as (string | number)[]);
    if (node) {
      return {
        offset: node.offset,
        length: source.slice(node.offset, node.offset + node.length).split("\n")[0].length,
        found: length === path.length,
      };
    }
  }
  return { offset: root.offset, length: 1, found: path.length === 0 };
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

function hostname(): string {
  try {
    return Deno.hostname();
  } catch {
    return "sluice";
  }
}
