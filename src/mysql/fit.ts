/**
 * Whether what a route gives fits the column that it goes to: by what the values can be, not by the names of the types.
 *
 * `error`: hardly anything of it will be stored as it is. `warning`: some of it will be refused or altered. `note`: a
 * little is lost, perhaps on purpose. A test holds every answer against real servers. Pure.
 */
import { type ColumnType, parseColumnType } from "../column_type.ts";
import type { RowColumn } from "../message.ts";
import type { TableColumn } from "./inspect.ts";

export interface Misfit {
  readonly severity: "error" | "warning" | "note";
  readonly code: "column-type" | "column-too-short" | "column-range" | "column-rounds";
  /** What the column does to it: "takes 4 characters, the route gives up to 40". */
  readonly sentence: string;
}

/** What a route gives to a column, as far as that is known before there is a message. */
type Given =
  | { readonly kind: "number"; readonly least: number; readonly most: number; readonly scale: number }
  /** A double: any size, any fraction. */
  | { readonly kind: "float" }
  | { readonly kind: "boolean" }
  /** `usual`: so long it usually is, nothing limits it. `declared`: it is sure to be text, and no number by accident. */
  | {
    readonly kind: "text";
    readonly characters: number;
    readonly bytes: number;
    readonly usual: boolean;
    readonly declared: boolean;
  }
  /** `raw`: the payload as it came, which may well be a text or a number. */
  | { readonly kind: "bytes"; readonly bytes: number; readonly raw: boolean; readonly fixed: boolean }
  | { readonly kind: "json" }
  | { readonly kind: "datetime" | "time"; readonly digits: number }
  | { readonly kind: "date" };

/** What people call it. */
const NAMES: Readonly<Record<Exclude<RowColumn["role"], "value" | "time">, string>> = {
  received: "the time of arrival",
  topic: "the topic",
  payload: "the payload as it came",
  qos: "the QoS",
  retain: "a truth value",
  gateway: "the gateway's name",
  sequence: "the sequence",
  level: "a level of the topic",
};

const BITS: Readonly<Record<string, number>> = {
  tinyint: 8,
  smallint: 16,
  mediumint: 24,
  int: 32,
  bigint: 64,
};
/** A thousand messages a second for five hundred years. */
const SEQUENCE_MAX = 2 ** 44;
/** Payloads above this are rare, and a column that takes less is worth a word. */
const LARGE_BYTES = 65_535;
/** Topics and their levels have no limit; a column for less than these is sure to meet a longer one. */
const USUAL_LENGTH = { topic: 64, level: 16, gateway: 16 } as const;

/** Null where it fits, or nothing is known. */
export function misfitOf(column: RowColumn, there: TableColumn): Misfit | null {
  const given = givenBy(column);
  if (given === null) return null;
  const target = targetOf(there);
  const judge = target && JUDGES[target.family];
  return judge ? judge(given, target, nameOf(column)) : null;
}

/** For messages: "varchar(40)", "the time of arrival". */
function nameOf({ type, role }: RowColumn): string {
  const isRaw = !["value", "time", "level"].includes(role);
  return type !== undefined && !isRaw ? parseColumnType(type).sql.toLowerCase() : NAMES[role as "level"];
}

function givenBy({ type, role }: RowColumn): Given | null {
  switch (role) {
    case "received":
      return { kind: "datetime", digits: 3 };
    case "qos":
      return { kind: "number", least: 0, most: 2, scale: 0 };
    case "retain":
      return { kind: "boolean" };
    case "sequence":
      return { kind: "number", least: 1, most: SEQUENCE_MAX, scale: 0 };
    case "payload":
      return { kind: "bytes", bytes: Infinity, raw: true, fixed: false };
    case "topic":
    case "gateway":
      return textOf(USUAL_LENGTH[role], true);
  }
  if (type !== undefined) return givenByType(parseColumnType(type));
  return role === "level" ? textOf(USUAL_LENGTH.level, false) : null;
}

const textOf = (characters: number, declared: boolean): Given => ({
  kind: "text",
  characters,
  bytes: characters,
  usual: true,
  declared,
});

function givenByType({ family, name, length, precision, scale, unsigned }: ColumnType): Given {
  switch (family) {
    case "boolean":
      return { kind: "boolean" };
    case "integer": {
      const bits = BITS[name];
      return {
        kind: "number",
        least: unsigned ? 0 : -(2 ** (bits - 1)),
        most: unsigned ? 2 ** bits - 1 : 2 ** (bits - 1) - 1,
        scale: 0,
      };
    }
    case "decimal": {
      const most = 10 ** (precision! - scale!) - 10 ** -scale!;
      return { kind: "number", least: unsigned ? 0 : -most, most, scale: scale! };
    }
    case "float":
      return { kind: "float" };
    case "text": {
      const isCounted = name === "varchar" || name === "char";
      return {
        kind: "text",
        characters: length!,
        bytes: isCounted ? length! * 4 : length!,
        usual: false,
        declared: true,
      };
    }
    case "binary":
      return { kind: "bytes", bytes: length!, raw: false, fixed: name === "binary" };
    case "json":
      return { kind: "json" };
    case "date":
      return { kind: "date" };
    case "datetime":
    case "time":
      return { kind: family, digits: precision! };
  }
}

interface Target {
  readonly family: keyof typeof JUDGES;
  /** In lower case, as the database writes it. */
  readonly sql: string;
  readonly name: string;
  readonly args: readonly string[];
  readonly unsigned: boolean;
  readonly length: number;
  /** Of JSON: it is a text with a check. */
  readonly isText: boolean;
}

function targetOf({ type, sqlType, length }: TableColumn): Target | undefined {
  const family = Object.hasOwn(FAMILIES, type) ? FAMILIES[type] : undefined;
  if (!family) return undefined;
  const args = /\((.*)\)/s.exec(sqlType)?.[1] ?? "";
  return {
    family,
    sql: type === "json" ? "json" : sqlType.replace(/(int)\(\d+\)/, "$1"),
    name: type,
    args: args.split(",").map((it) => it.trim()),
    unsigned: /unsigned/i.test(sqlType),
    length: length ?? Infinity,
    isText: sqlType.toLowerCase() !== "json",
  };
}

type Judge = (given: Given, target: Target, name: string) => Misfit | null;

const never = (sentence: string): Misfit => ({ severity: "error", code: "column-type", sentence });
const mismatch = (target: Target, name: string) => never(`is ${target.sql}, the route gives ${name}`);
const range = (sentence: string): Misfit => ({ severity: "warning", code: "column-range", sentence });
const rounds = (severity: Misfit["severity"], sentence: string): Misfit => ({
  severity,
  code: "column-rounds",
  sentence,
});
const short = (sentence: string): Misfit => ({ severity: "warning", code: "column-too-short", sentence });

/** A level of the topic or a payload may be a number, a time or one of the list; whatever else comes is refused. */
const isOpen = (given: Given) =>
  given.kind === "text" && !given.declared || given.kind === "bytes" && given.raw;
const perhaps = (target: Target, name: string): Misfit => ({
  severity: "warning",
  code: "column-type",
  sentence: `is ${target.sql}, the route gives ${name}: whatever is none becomes a dead letter`,
});

function number(given: Given, target: Target, name: string, least: number, most: number): Misfit | null {
  if (given.kind === "boolean") return most >= 1 ? null : mismatch(target, name);
  if (isOpen(given)) return perhaps(target, name);
  if (given.kind === "float") {
    return least >= 0
      ? range(`is ${target.sql}: numbers below 0 are refused, and the route gives ${name}`)
      : null;
  }
  if (given.kind !== "number") return mismatch(target, name);
  if (given.least >= least && given.most <= most) return null;
  return range(`is ${target.sql} (${shown(least)} to ${shown(most)}), the route gives ${name}`);
}

const shown = (n: number) => Number.isSafeInteger(n) ? String(n) : n.toPrecision(3);

const integer: Judge = (given, target, name) => {
  const bits = BITS[target.name];
  const least = target.unsigned ? 0 : -(2 ** (bits - 1));
  const misfit = number(given, target, name, least, target.unsigned ? 2 ** bits - 1 : 2 ** (bits - 1) - 1);
  if (misfit) return misfit;
  const hasFraction = given.kind === "float" || given.kind === "number" && given.scale > 0;
  return hasFraction
    ? rounds("warning", `is ${target.sql}: 21.6 becomes 22, and the route gives ${name}`)
    : null;
};

const decimal: Judge = (given, target, name) => {
  const [digits, scale = 0] = target.args.map(Number);
  const most = 10 ** (digits - scale) - 10 ** -scale;
  const misfit = number(given, target, name, target.unsigned ? 0 : -most, most);
  if (misfit) return misfit;
  const decimals = given.kind === "float" ? Infinity : given.kind === "number" ? given.scale : 0;
  if (decimals <= scale) return null;
  const result = `it rounds to ${scale === 0 ? "whole numbers" : `${scale} decimals`}`;
  // Whoever makes such a column for a double wants just that.
  return given.kind === "float" && scale > 0
    ? rounds("note", `is ${target.sql}: ${result}, and refuses ${shown(10 ** (digits - scale))} and more`)
    : rounds("warning", `is ${target.sql}: ${result}, and the route gives ${name}`);
};

const float: Judge = (given, target, name) => {
  const misfit = number(given, target, name, target.unsigned ? 0 : -Infinity, Infinity);
  if (misfit) return misfit;
  const digits = target.name === "float" ? 7 : 15;
  const exact = 10 ** digits;
  const isExact = given.kind === "float"
    ? target.name === "double"
    : given.kind !== "number" || Math.max(-given.least, given.most) * 10 ** given.scale <= exact;
  return isExact ? null : rounds("note", `is ${target.sql}, which keeps about ${digits} digits of a number`);
};

const bit: Judge = (given, target, name) => {
  if (given.kind !== "number" && given.kind !== "boolean" || given.kind === "number" && given.scale > 0) {
    return mismatch(target, name);
  }
  return number(given, target, name, 0, 2 ** Number(target.args[0] || 1) - 1);
};

/** Characters that a value needs as text; Infinity: nothing limits it. */
function charactersOf(given: Given): number {
  switch (given.kind) {
    case "boolean":
      return 1;
    case "number": {
      const sign = given.least < 0 ? 1 : 0;
      const whole = Math.max(1, Math.ceil(Math.log10(Math.max(given.most, -given.least))));
      return sign + whole + (given.scale > 0 ? given.scale + 1 : 0);
    }
    case "float":
      return 24;
    case "datetime":
      return given.digits > 0 ? 20 + given.digits : 19;
    case "date":
      return 10;
    case "time":
      return given.digits > 0 ? 11 + given.digits : 10;
    case "text":
      return given.characters;
    case "bytes":
      return given.bytes;
    case "json":
      return Infinity;
  }
}

const text: Judge = (given, target, name) => {
  const isCounted = target.name === "varchar" || target.name === "char";
  const needed = !isCounted && given.kind === "text" ? given.bytes : charactersOf(given);
  const misfit = lengthMisfit(given, needed, target, isCounted ? "characters" : "bytes", name);
  if (given.kind !== "bytes" || misfit && misfit.severity !== "note") return misfit;
  const sentence = `is ${target.sql}: bytes that are no UTF-8 become dead letters`;
  return { severity: given.raw ? "note" : "warning", code: "column-type", sentence };
};

const binary: Judge = (given, target, name) => {
  const needed = given.kind === "text" ? given.bytes : charactersOf(given);
  const misfit = lengthMisfit(given, needed, target, "bytes", name);
  if (misfit || target.name !== "binary") return misfit;
  if (given.kind === "bytes" && given.fixed && given.bytes === target.length) return null;
  return rounds("warning", `is ${target.sql}: what is shorter is filled up with zero bytes`);
};

function lengthMisfit(
  given: Given,
  needed: number,
  { length }: Target,
  unit: string,
  name: string,
): Misfit | null {
  if (needed <= length) return null;
  const isOpenEnded = needed === Infinity || given.kind === "text" && given.usual;
  if (!isOpenEnded) return short(`takes ${length} ${unit}, the route gives up to ${needed}`);
  const misfit = short(
    `takes ${length} ${unit}, the route gives ${name}: what is longer becomes a dead letter`,
  );
  return length >= LARGE_BYTES ? { ...misfit, severity: "note" } : misfit;
}

const json: Judge = (given, target, name) => {
  if (given.kind === "json") return null;
  if (given.kind === "text" && !given.declared) return perhaps(target, name);
  // MariaDB looks at the text, MySQL at what it was given.
  // A decimal goes there as text, and is JSON then.
  if (!target.isText) return given.kind === "number" && given.scale > 0 ? null : mismatch(target, name);
  if (isOpen(given)) return perhaps(target, name);
  return ["number", "float", "boolean"].includes(given.kind) ? null : mismatch(target, name);
};

const datetime: Judge = (given, target, name) => {
  if (isOpen(given)) return perhaps(target, name);
  if (given.kind === "date") return null;
  if (given.kind !== "datetime") return mismatch(target, name);
  return fractions(given.digits, target, name);
};

function fractions(digits: number, target: Target, name: string): Misfit | null {
  const kept = Number(target.args[0] || 0);
  if (kept >= digits) return null;
  return rounds(
    "warning",
    `is ${target.sql}: it rounds to ${
      kept === 0 ? "whole seconds" : `${kept} decimals of a second`
    }, and the route gives ${name}`,
  );
}

const date: Judge = (given, target, name) => {
  if (isOpen(given)) return perhaps(target, name);
  if (given.kind === "date") return null;
  if (given.kind !== "datetime") return mismatch(target, name);
  return rounds("warning", `is date: it leaves out the time of day, and the route gives ${name}`);
};

const time: Judge = (given, target, name) => {
  if (isOpen(given)) return perhaps(target, name);
  if (given.kind === "time") return fractions(given.digits, target, name);
  if (given.kind !== "datetime") return mismatch(target, name);
  return rounds("warning", `is ${target.sql}: it leaves out the day, and the route gives ${name}`);
};

/** A number would mean a place in the list, and store another value without a word. */
const list: Judge = (given, target, name) => {
  if (given.kind !== "text" && given.kind !== "bytes") return mismatch(target, name);
  return {
    severity: "warning",
    code: "column-type",
    sentence: `is ${target.sql}: any other text becomes a dead letter`,
  };
};

const year: Judge = (given, target, name) => isOpen(given) ? perhaps(target, name) : mismatch(target, name);

const JUDGES = { integer, decimal, float, bit, year, text, binary, json, datetime, date, time, list };

const FAMILIES: Readonly<Record<string, keyof typeof JUDGES>> = {
  tinyint: "integer",
  smallint: "integer",
  mediumint: "integer",
  int: "integer",
  bigint: "integer",
  decimal: "decimal",
  float: "float",
  double: "float",
  bit: "bit",
  year: "year",
  char: "text",
  varchar: "text",
  tinytext: "text",
  text: "text",
  mediumtext: "text",
  longtext: "text",
  binary: "binary",
  varbinary: "binary",
  tinyblob: "binary",
  blob: "binary",
  mediumblob: "binary",
  longblob: "binary",
  json: "json",
  datetime: "datetime",
  timestamp: "datetime",
  date: "date",
  time: "time",
  enum: "list",
  set: "list",
};
