/**
 * How much room the columns of a table take, and what becomes of those that take too much: MySQL's limits are 65,535
 * bytes for a row (error 1118), 16,383 characters for a VARCHAR (1074), 3,072 bytes for a key (1071), and about 8,126
 * bytes for what InnoDB keeps of a row in its page, where a VARCHAR of up to 255 bytes counts in full and a longer one
 * with 40.
 */
import { type ColumnType, parseColumnType } from "../column_type.ts";

export const KEY_BYTES_MAX = 3_072;
const ROW_BYTES_MAX = 65_535;
/** Of the page, with some room for what InnoDB adds. */
const PAGE_BYTES_MAX = 7_900;
const VARCHAR_LENGTH_MAX = 16_383;
/** Kept in the page of what lies outside of it, and its length. */
const OUTSIDE_BYTES = 42;
/** utf8mb4. */
const BYTES_PER_CHARACTER = 4;

const FIXED: Readonly<Record<string, number>> = {
  tinyint: 1,
  boolean: 1,
  smallint: 2,
  mediumint: 3,
  int: 4,
  bigint: 8,
  float: 4,
  double: 8,
  date: 3,
  time: 6,
  datetime: 8,
  timestamp: 7,
};

const isCounted = ({ name }: ColumnType) => ["char", "varchar", "binary", "varbinary"].includes(name);

/** The most that a value takes, without its length; Infinity for TEXT, BLOB and JSON. */
export function valueBytes(type: ColumnType): number {
  if (isCounted(type)) return type.length! * (type.family === "text" ? BYTES_PER_CHARACTER : 1);
  if (type.family === "decimal") return 4 * Math.ceil(type.precision! / 9) + 4;
  return FIXED[type.name] ?? Infinity;
}

function rowBytes(type: ColumnType): number {
  const bytes = valueBytes(type);
  return bytes === Infinity ? 12 : bytes + 2;
}

function pageBytes(type: ColumnType): number {
  const bytes = valueBytes(type);
  return bytes <= 255 ? bytes + 1 : OUTSIDE_BYTES;
}

/** A TEXT or BLOB that takes as much. What the route allows is checked before, so that it does not become more. */
function outside(type: ColumnType): ColumnType {
  const bytes = valueBytes(type);
  const size = bytes > 16_777_215 ? "long" : bytes > 65_535 ? "medium" : "";
  return parseColumnType(size + (type.family === "text" ? "text" : "blob"));
}

/** The types with which a table can be made: the largest that are in no key become TEXT or BLOB until the row fits. */
export function fitted(
  columns: readonly { readonly type: ColumnType; readonly inKey: boolean }[],
): ColumnType[] {
  const types = columns.map(({ type }) =>
    isCounted(type) && type.family === "text" && type.length! > VARCHAR_LENGTH_MAX ? outside(type) : type
  );
  const shrink = (size: (type: ColumnType) => number, max: number, gains: (type: ColumnType) => boolean) => {
    let sum = types.reduce((total, type) => total + size(type), 0);
    const order = types.map((_, i) => i).filter((i) =>
      !columns[i].inKey && isCounted(types[i]) && gains(types[i])
    )
      .sort((a, b) => size(types[b]) - size(types[a]));
    for (const i of order) {
      if (sum <= max) return;
      const before = size(types[i]);
      types[i] = outside(types[i]);
      sum += size(types[i]) - before;
    }
  };
  // The `id`, NULL flags and what else a row has besides.
  shrink(rowBytes, ROW_BYTES_MAX - 512, (type) => valueBytes(type) > 12);
  shrink(pageBytes, PAGE_BYTES_MAX, (type) => pageBytes(type) > OUTSIDE_BYTES);
  return types;
}

/** So many characters or bytes of each column that an index of all of them is possible; undefined: all of it. */
export function indexPrefixes(types: readonly ColumnType[]): (number | undefined)[] {
  const bytes = types.map(valueBytes);
  const long = types.flatMap(({ family }, i) => family === "text" || family === "binary" ? [i] : []);
  let left = KEY_BYTES_MAX - bytes.reduce((sum, it, i) => long.includes(i) ? sum : sum + it, 0);
  // The shortest first: what one does not need, the longer ones may have.
  const prefixes = types.map((): number | undefined => undefined);
  long.sort((a, b) => bytes[a] - bytes[b]).forEach((at, i) => {
    const share = left / (long.length - i);
    const unit = types[at].family === "text" ? BYTES_PER_CHARACTER : 1;
    if (bytes[at] > share) prefixes[at] = Math.floor(share / unit);
    left -= Math.min(bytes[at], Math.floor(share / unit) * unit);
  });
  return prefixes;
}
