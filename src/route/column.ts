/**
 * One column of a route, compiled: from a delivery and its decoded payload to the value that is bound.
 */
import { type ColumnType, parseColumnType } from "../column_type.ts";
import type { Delivery, RowColumn, SqlValue } from "../message.ts";
import { convert, natural, truncate, UnfitError } from "./convert.ts";
import type { ColumnOptions } from "./options.ts";
import { compilePath } from "./path.ts";

/** What a column may look at. */
export interface Source {
  delivery: Delivery;
  /** What the placeholders of the topic stand for. */
  levels: Readonly<Record<string, string>>;
  payload: unknown;
  gateway: string;
}

export interface Column {
  readonly row: RowColumn;
  read(source: Source): SqlValue;
}

const AT: Readonly<Record<string, { role: RowColumn["role"]; read: (source: Source) => SqlValue }>> = {
  "@received": { role: "received", read: ({ delivery }) => sqlTime(delivery.receivedAtMs) },
  "@topic": { role: "topic", read: ({ delivery }) => delivery.topic },
  "@payload": { role: "payload", read: ({ delivery }) => delivery.payload },
  "@qos": { role: "qos", read: ({ delivery }) => delivery.qos },
  "@retain": { role: "retain", read: ({ delivery }) => delivery.retain },
  "@gateway": { role: "gateway", read: ({ gateway }) => gateway },
  "@sequence": { role: "sequence", read: ({ delivery }) => delivery.sequence },
};
export const AT_NAMES: readonly string[] = Object.keys(AT);

let lastSecond = -1;
let lastText = "";

/** `YYYY-MM-DD HH:MM:SS.mmm` in UTC. */
export function sqlTime(ms: number): string {
  const second = Math.floor(ms / 1_000);
  if (second !== lastSecond) {
    lastSecond = second;
    lastText = new Date(second * 1_000).toISOString().slice(0, 19).replace("T", " ");
  }
  return `${lastText}.${String(Math.floor(ms - second * 1_000)).padStart(3, "0")}`;
}

/** Compiles a column; throws `TypeError` that says what is wrong with it. */
export function compileColumn(
  name: string,
  given: string | ColumnOptions,
  levelNames: readonly string[],
): Column {
  const options = typeof given === "string" ? { value: given } : given;
  const { value, type: typeText, onError = "reject" } = options;
  const type = typeText === undefined ? undefined : parseColumnType(typeText);
  const row = (role: RowColumn["role"]): RowColumn => ({ name, type: typeText, role });
  if (value.startsWith("@")) {
    const known = AT[value];
    if (!known) throw new TypeError(`"${value}" is none of ${AT_NAMES.join(", ")}`);
    return { row: row(known.role), read: known.read };
  }
  const level = /^\{(\w+)(?:\.\.\.)?\}$/.exec(value)?.[1];
  if (level !== undefined) {
    if (!levelNames.includes(level)) {
      throw new TypeError(
        `{${level}} is not in the topic${
          levelNames.length > 0 ? `, which has ${levelNames.map((it) => `{${it}}`).join(", ")}` : ""
        }`,
      );
    }
    return { row: row("level"), read: converted(({ levels }) => levels[level], name, type, onError) };
  }
  if (value.startsWith("$")) {
    const read = compilePath(value);
    return { row: row("value"), read: converted(({ payload }) => read(payload), name, type, onError) };
  }
  if (value.startsWith("=")) throw new TypeError(`expressions ("${value}") are not supported yet`);
  throw new TypeError(
    `"${value}" is no value: expected @name, {level}, a path like $.temperature, or an expression like = a + b`,
  );
}

function converted(
  read: (source: Source) => unknown,
  name: string,
  type: ColumnType | undefined,
  onError: NonNullable<ColumnOptions["onError"]>,
): Column["read"] {
  return (source) => {
    const value = read(source);
    try {
      return type === undefined ? natural(value) : convert(value, type);
    } catch (error) {
      if (!(error instanceof UnfitError) || onError === "reject") {
        throw new UnfitError(`column ${name}: ${(error as Error).message}`);
      }
      return onError === "truncate" && type?.family === "text" ? truncate(value, type) : null;
    }
  };
}
