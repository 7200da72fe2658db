/**
 * One column of a route, compiled: from what a message brings to the value that is bound.
 */
import { type ColumnType, parseColumnType } from "../column_type.ts";
import type { RowColumn, SqlValue } from "../message.ts";
import { convert, natural, truncate } from "./convert.ts";
import { compileExpression } from "./expression.ts";
import type { ColumnOptions } from "./options.ts";
import { compilePath } from "./path.ts";
import type { Scope, Source } from "./source.ts";
import { compileTime, sqlTime, timeType } from "./time.ts";
import { UnfitError } from "./unfit_error.ts";

export interface Column {
  readonly row: RowColumn;
  read(source: Source): SqlValue;
}

interface At {
  readonly role: RowColumn["role"];
  read(source: Source): SqlValue;
}

const AT: Readonly<Record<string, At>> = {
  "@received": { role: "received", read: ({ delivery }) => sqlTime(delivery.receivedAtMs) },
  "@topic": { role: "topic", read: ({ delivery }) => delivery.topic },
  "@payload": { role: "payload", read: ({ delivery }) => delivery.payload },
  "@qos": { role: "qos", read: ({ delivery }) => delivery.qos },
  "@retain": { role: "retain", read: ({ delivery }) => delivery.retain },
  "@gateway": { role: "gateway", read: ({ gateway }) => gateway },
  "@sequence": { role: "sequence", read: ({ delivery }) => delivery.sequence },
};

/** Compiles a column; throws `TypeError` that says what is wrong with it. */
export function compileColumn(name: string, given: string | ColumnOptions, scope: Scope): Column {
  const options = typeof given === "string" ? { value: given } : given;
  const { value } = options;
  if (value === "@key" && scope.each) return converted(name, "level", options, ({ key }) => String(key));
  if (value.startsWith("@")) {
    const known = Object.hasOwn(AT, value) ? AT[value] : undefined;
    if (value === "@key") throw new TypeError(`"@key" is the key of an element: it needs "each"`);
    if (!known) throw new TypeError(`"${value}" is none of ${Object.keys(AT).join(", ")}`);
    if (options.time) throw new TypeError(`"time" is for times in the payload, not for ${value}`);
    return { row: rowOf(name, options.type, known.role, options), read: known.read };
  }
  const level = /^\{(\w+)(?:\.\.\.)?\}$/.exec(value)?.[1];
  if (level !== undefined) {
    const index = scope.levels.indexOf(level);
    if (index < 0) throw new TypeError(`{${level}} is not in the topic${listed(scope.levels)}`);
    return converted(name, "level", options, ({ levels }) => levels[index]);
  }
  return converted(name, "value", options, compileValue(value, scope));
}

const listed = (levels: readonly string[]) =>
  levels.length > 0 ? `, which has ${levels.map((it) => `{${it}}`).join(", ")}` : "";

function compileValue(value: string, scope: Scope): (source: Source) => unknown {
  if (value.startsWith("$")) {
    const read = compilePath(value);
    return ({ element }) => read(element);
  }
  if (value.startsWith("=")) {
    const expression = compileExpression(value.slice(1), scope);
    return (source) => expression.evaluate(source);
  }
  throw new TypeError(
    `"${value}" is no value: expected @name, {level}, a path like $.temperature, or an expression like = a + b`,
  );
}

function converted(
  name: string,
  role: RowColumn["role"],
  options: ColumnOptions,
  read: (source: Source) => unknown,
): Column {
  const { type, fit } = compileFit(name, options);
  return { row: rowOf(name, type, role, options), read: (source) => fit(() => read(source)) };
}

function rowOf(
  name: string,
  type: string | undefined,
  role: RowColumn["role"],
  { unit, time }: ColumnOptions,
): RowColumn {
  return { name, type, role: time ? "time" : role, ...(unit !== undefined && { unit }) };
}

/** How a value becomes one for the column, and the column's type. `fit` throws `UnfitError` unless `onError` says otherwise. */
export function compileFit(
  name: string,
  { type: typeText, time, zone, onError = "reject" }: ColumnOptions,
): { readonly type: string | undefined; readonly fit: (read: () => unknown) => SqlValue } {
  const text = typeText ?? (time && timeType(time));
  const type = text === undefined ? undefined : parseColumnType(text);
  if (zone !== undefined && time === undefined) throw new TypeError(`"zone" needs "time": "local"`);
  const into = time ? compileTime(time, zone, type!) : conversion(type);
  const fit = (read: () => unknown): SqlValue => {
    let value: unknown;
    try {
      value = read();
      return into(value);
    } catch (error) {
      if (!(error instanceof UnfitError)) throw error;
      if (onError === "reject") throw new UnfitError(`column ${name}: ${error.message}`);
      return onError === "truncate" && type?.family === "text" && !time && value !== undefined
        ? truncate(value, type)
        : null;
    }
  };
  return { type: text, fit };
}

function conversion(type: ColumnType | undefined): (value: unknown) => SqlValue {
  return type === undefined ? natural : (value) => convert(value, type);
}
