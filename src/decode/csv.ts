/**
 * CSV (RFC 4180): one line is an array of its values, several lines are an array of rows.
 *
 * The first of several lines is a header where none of its fields is a number; each further line is then an object
 * with these names. Without a header each line is an array of values. A path reads either: `$[0]` a single line,
 * `each: "$"` makes a database row of each line. Where a header has no name for a column, its number is the name.
 *
 * The delimiter is the first of tab, semicolon, | and comma that the first line has outside of quotes, so that `21,5;40`
 * is two fields. Spaces around a field are no part of it, an empty field is null, empty lines are skipped. Numbers
 * become numbers; everything else is text. A line that has more or fewer fields than the header is refused.
 */
import Papa from "papaparse";
import { countOf, refuseHuge, VALUES_MAX } from "./limits.ts";
import { parseNumber } from "./number.ts";
import { own, type PlainObject } from "./plain.ts";
import { decodeText } from "./text.ts";
import { UnreadableError } from "./unreadable_error.ts";

const DELIMITERS = ["\t", ";", "|", ","];

export function decodeCsv(payload: Uint8Array): unknown {
  refuseHuge(payload, "CSV");
  const text = decodeText(payload);
  const delimiter = delimiterOf(text);
  if (countOf([delimiter, '"', "\n", "\r"], text, VALUES_MAX) > VALUES_MAX) {
    throw new UnreadableError(`CSV with more than ${VALUES_MAX} fields`);
  }
  const lines = linesOf(text, delimiter);
  const [first, ...rest] = lines;
  if (!first) throw new UnreadableError("not CSV: there are only empty lines");
  if (rest.length === 0) return first.map(valueOf);
  return first.some(isNumber) ? lines.map((line) => line.map(valueOf)) : objects(namesOf(first), rest);
}

function delimiterOf(text: string): string {
  const line = /[^\r\n]+/.exec(text.replace(/"[^"]*"/g, ""))?.[0] ?? "";
  return DELIMITERS.find((it) => line.includes(it)) ?? ",";
}

function linesOf(text: string, delimiter: string): string[][] {
  const { data, errors } = Papa.parse(text, { delimiter, skipEmptyLines: true });
  const [error] = errors;
  if (error) throw new UnreadableError(`not CSV: ${error.message}, in row ${(error.row ?? 0) + 1}`);
  return (data as string[][]).map((line) => line.map((field) => field.trim()));
}

function namesOf(header: readonly string[]): string[] {
  const names = header.map((name, i) => name || String(i));
  const seen = new Set<string>();
  const twice = names.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined) throw new UnreadableError(`not CSV: the header has "${twice.slice(0, 40)}" twice`);
  return names;
}

function objects(names: readonly string[], lines: readonly string[][]): PlainObject[] {
  return lines.map((line, i) => {
    if (line.length !== names.length) {
      throw new UnreadableError(
        `not CSV: the header has ${names.length} fields, row ${i + 2} has ${line.length}`,
      );
    }
    const row: PlainObject = {};
    names.forEach((name, column) => own(row, name, valueOf(line[column]!)));
    return row;
  });
}

function isNumber(field: string): boolean {
  return parseNumber(field) !== undefined;
}

function valueOf(field: string): unknown {
  return field === "" ? null : parseNumber(field) ?? field;
}
