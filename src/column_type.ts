/**
 * SQL column types as a configuration writes them: `double`, `varchar(40)`, `decimal(10,2)`, `int unsigned`.
 *
 * One parser for everyone who asks: the configuration refuses what is no type, routes convert values to it, the
 * databases write it into `CREATE TABLE`.
 */

export type TypeFamily =
  | "boolean"
  | "integer"
  | "decimal"
  | "float"
  | "text"
  | "binary"
  | "json"
  | "datetime"
  | "date"
  | "time";

export interface ColumnType {
  /** Lower case, without arguments: `varchar`. */
  readonly name: string;
  readonly family: TypeFamily;
  /** `varchar(40)`: 40 characters; `binary(16)`: 16 bytes. For text and blob types without a length their limit in bytes. */
  readonly length: number | undefined;
  /** `decimal(10,2)`: 10 digits. `datetime(3)`: 3 digits of the second's fraction. */
  readonly precision: number | undefined;
  readonly scale: number | undefined;
  readonly unsigned: boolean;
  /** The type as SQL, e.g. `VARCHAR(40)`. Safe to put into a statement. */
  readonly sql: string;
}

interface Known {
  readonly family: TypeFamily;
  /** How many arguments it takes at least and at most. */
  readonly args: readonly [number, number];
  /** Length in bytes where the type itself limits it. */
  readonly length?: number;
  readonly alias?: string;
}

const KNOWN: Readonly<Record<string, Known>> = {
  boolean: { family: "boolean", args: [0, 0] },
  bool: { family: "boolean", args: [0, 0], alias: "boolean" },
  tinyint: { family: "integer", args: [0, 1] },
  smallint: { family: "integer", args: [0, 1] },
  mediumint: { family: "integer", args: [0, 1] },
  int: { family: "integer", args: [0, 1] },
  integer: { family: "integer", args: [0, 1], alias: "int" },
  bigint: { family: "integer", args: [0, 1] },
  decimal: { family: "decimal", args: [0, 2] },
  numeric: { family: "decimal", args: [0, 2], alias: "decimal" },
  float: { family: "float", args: [0, 0] },
  double: { family: "float", args: [0, 0] },
  real: { family: "float", args: [0, 0], alias: "double" },
  char: { family: "text", args: [0, 1] },
  varchar: { family: "text", args: [1, 1] },
  tinytext: { family: "text", args: [0, 0], length: 255 },
  text: { family: "text", args: [0, 0], length: 65_535 },
  mediumtext: { family: "text", args: [0, 0], length: 16_777_215 },
  longtext: { family: "text", args: [0, 0], length: 4_294_967_295 },
  binary: { family: "binary", args: [0, 1] },
  varbinary: { family: "binary", args: [1, 1] },
  tinyblob: { family: "binary", args: [0, 0], length: 255 },
  blob: { family: "binary", args: [0, 0], length: 65_535 },
  mediumblob: { family: "binary", args: [0, 0], length: 16_777_215 },
  longblob: { family: "binary", args: [0, 0], length: 4_294_967_295 },
  json: { family: "json", args: [0, 0] },
  datetime: { family: "datetime", args: [0, 1] },
  timestamp: { family: "datetime", args: [0, 1] },
  date: { family: "date", args: [0, 0] },
  time: { family: "time", args: [0, 1] },
};

export const TYPE_NAMES: readonly string[] = Object.keys(KNOWN);

const SYNTAX = /^\s*([a-z]+)\s*(?:\(\s*(\d{1,5})\s*(?:,\s*(\d{1,2})\s*)?\))?\s*(unsigned)?\s*$/i;

/** Reads a type; throws `TypeError` that says what was expected. */
export function parseColumnType(text: string): ColumnType {
  const match = SYNTAX.exec(text);
  const name = match?.[1].toLowerCase();
  const known = name !== undefined && Object.hasOwn(KNOWN, name) ? KNOWN[name] : undefined;
  if (!match || !known) {
    throw new TypeError(
      `"${text}" is not a column type: expected one like double, int unsigned, decimal(10,2), varchar(40), text, datetime(3), json`,
    );
  }
  const args = [match[2], match[3]].filter((arg) => arg !== undefined).map(Number);
  const [fewest, most] = known.args;
  if (args.length < fewest || args.length > most) {
    const example = most === 2 ? `${name}(10,2)` : name === "datetime" ? "datetime(3)" : `${name}(40)`;
    throw new TypeError(
      most === 0
        ? `"${text}": ${name} takes no number in brackets`
        : fewest > 0
        ? `"${text}": ${name} needs a number in brackets, like ${example}`
        : `"${text}": ${name} takes ${
          most === 1 ? "one number" : "at most two numbers"
        } in brackets, like ${example}`,
    );
  }
  const unsigned = match[4] !== undefined;
  if (unsigned && !["integer", "decimal", "float"].includes(known.family)) {
    throw new TypeError(`"${text}": only numbers can be unsigned`);
  }
  const canonical = known.alias ?? name!;
  return {
    name: canonical,
    family: known.family,
    length: known.length ?? lengthOf(known.family, canonical, args),
    precision: precisionOf(known.family, args),
    scale: known.family === "decimal" ? args[1] ?? 0 : undefined,
    unsigned,
    sql: canonical.toUpperCase() + (args.length > 0 ? `(${args.join(",")})` : "") +
      (unsigned ? " UNSIGNED" : ""),
  };
}

function lengthOf(family: TypeFamily, name: string, args: number[]): number | undefined {
  if (family !== "text" && family !== "binary") return undefined;
  return args[0] ?? (name === "char" || name === "binary" ? 1 : undefined);
}

function precisionOf(family: TypeFamily, args: number[]): number | undefined {
  if (family === "decimal") return args[0] ?? 10;
  if (family === "datetime" || family === "time") return args[0] ?? 0;
  return undefined;
}
