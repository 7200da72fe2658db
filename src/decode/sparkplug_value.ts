/**
 * Sparkplug B values as plain data, by their data type.
 *
 * Integers are numbers, or bigint beyond 2^53; a time is its epoch milliseconds (`time: "epoch_ms"`). A Float is the
 * shortest decimal that is the same float: 12.1, not 12.100000381469727. A DataSet is an array of objects, a Template
 * an object with its metrics by name, a PropertySet an object; array types are arrays. Without a type the value is
 * what the wire says, with integers as unsigned.
 */
import { VALUES_MAX } from "./limits.ts";
import { exact, own, plain, type PlainObject } from "./plain.ts";
import type { DataSet, PropertySet, Template, ValueFields } from "./sparkplug_message.ts";
import { decodeText } from "./text.ts";
import { UnreadableError } from "./unreadable_error.ts";

/** Names of the data types; the index is their number (Sparkplug 3.0, section 6.4.16). */
export const TYPES = [
  "Unknown",
  "Int8",
  "Int16",
  "Int32",
  "Int64",
  "UInt8",
  "UInt16",
  "UInt32",
  "UInt64",
  "Float",
  "Double",
  "Boolean",
  "String",
  "DateTime",
  "Text",
  "UUID",
  "DataSet",
  "Bytes",
  "File",
  "Template",
  "PropertySet",
  "PropertySetList",
  "Int8Array",
  "Int16Array",
  "Int32Array",
  "Int64Array",
  "UInt8Array",
  "UInt16Array",
  "UInt32Array",
  "UInt64Array",
  "FloatArray",
  "DoubleArray",
  "BooleanArray",
  "StringArray",
  "DateTimeArray",
] as const;

const SIGNED_BITS: Readonly<Record<string, number>> = { Int8: 8, Int16: 16, Int32: 32, Int64: 64 };

export function valueOf(fields: ValueFields & { readonly isNull?: boolean }, datatype = 0): unknown {
  if (fields.isNull) return null;
  if (fields.stringValue !== undefined) return fields.stringValue;
  if (fields.booleanValue !== undefined) return fields.booleanValue;
  if (fields.doubleValue !== undefined) return fields.doubleValue;
  if (fields.floatValue !== undefined) return shortest(fields.floatValue);
  const integer = fields.intValue ?? fields.longValue;
  if (integer !== undefined) return integerOf(integer, TYPES[datatype] ?? "Unknown");
  if (fields.bytesValue) return bytesOf(fields.bytesValue, TYPES[datatype] ?? "Bytes");
  if (fields.datasetValue) return rowsOf(fields.datasetValue);
  if (fields.templateValue) return templateOf(fields.templateValue);
  if (fields.propertysetValue) return propertiesOf(fields.propertysetValue);
  if (fields.propertysetsValue) return fields.propertysetsValue.propertyset.map(propertiesOf);
  return null;
}

export function propertiesOf({ keys, values }: PropertySet): PlainObject {
  const object: PlainObject = {};
  keys.forEach((key, i) => own(object, key, valueOf(values[i] ?? {}, values[i]?.type)));
  return object;
}

function integerOf(integer: number | bigint, type: string): unknown {
  if (type === "Boolean") return Number(integer) !== 0;
  const bits = SIGNED_BITS[type];
  return exact(bits ? BigInt.asIntN(bits, BigInt(integer)) : BigInt(integer));
}

function shortest(float: number): number {
  if (Number.isInteger(float)) return float;
  for (let digits = 6; digits < 9; digits++) {
    const decimal = Number(float.toPrecision(digits));
    if (Math.fround(decimal) === float) return decimal;
  }
  return float;
}

function rowsOf({ columns, types, rows }: DataSet): PlainObject[] {
  refuseMany(columns.length * rows.length, "DataSet");
  return rows.map(({ elements }) => {
    const row: PlainObject = {};
    columns.forEach((column, i) => own(row, column, valueOf(elements[i] ?? {}, types[i])));
    return row;
  });
}

function templateOf({ version, templateRef, isDefinition, metrics, parameters }: Template): PlainObject {
  const values: PlainObject = {};
  for (const { name, alias, datatype, ...fields } of metrics) {
    own(values, name ?? `alias:${alias ?? "none"}`, valueOf(fields, datatype));
  }
  const given: PlainObject = {};
  for (const { name, type, ...fields } of parameters) own(given, name ?? "", valueOf(fields, type));
  return {
    template: templateRef ?? null,
    version: version ?? null,
    definition: isDefinition ?? false,
    metrics: values,
    parameters: given,
  };
}

type Element = readonly [bytes: number, read: (view: DataView, at: number) => unknown];

/** Arrays lie in bytes, little-endian. */
const ELEMENT: Readonly<Record<string, Element>> = {
  Int8Array: [1, (view, at) => view.getInt8(at)],
  Int16Array: [2, (view, at) => view.getInt16(at, true)],
  Int32Array: [4, (view, at) => view.getInt32(at, true)],
  Int64Array: [8, (view, at) => exact(view.getBigInt64(at, true))],
  UInt8Array: [1, (view, at) => view.getUint8(at)],
  UInt16Array: [2, (view, at) => view.getUint16(at, true)],
  UInt32Array: [4, (view, at) => view.getUint32(at, true)],
  UInt64Array: [8, (view, at) => exact(view.getBigUint64(at, true))],
  FloatArray: [4, (view, at) => shortest(view.getFloat32(at, true))],
  DoubleArray: [8, (view, at) => view.getFloat64(at, true)],
  DateTimeArray: [8, (view, at) => exact(view.getBigInt64(at, true))],
};

function bytesOf(bytes: Uint8Array, type: string): unknown {
  if (type === "BooleanArray") return booleans(bytes);
  if (type === "StringArray") return strings(bytes);
  const element = Object.hasOwn(ELEMENT, type) ? ELEMENT[type] : undefined;
  if (!element) return plain(bytes);
  const [size, read] = element;
  refuseMany(bytes.length / size, type);
  if (bytes.length % size !== 0) throw new UnreadableError(`${type} of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / size }, (_, i) => read(view, i * size));
}

/** Their number in four bytes, then a bit for each, the highest first. */
function booleans(bytes: Uint8Array): boolean[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.length < 4 ? Infinity : view.getUint32(0, true);
  if (count > (bytes.length - 4) * 8) throw new UnreadableError(`BooleanArray of ${bytes.length} bytes`);
  refuseMany(count, "BooleanArray");
  return Array.from({ length: count }, (_, i) => ((bytes[4 + (i >> 3)]! >> (7 - (i & 7))) & 1) === 1);
}

/** A few bytes can stand for many values: eight truth values in one, all columns of a row that has none. */
function refuseMany(values: number, type: string): void {
  if (values > VALUES_MAX) {
    throw new UnreadableError(`${type} of ${values} values; ${VALUES_MAX} are the limit`);
  }
}

/** Each ends with a zero byte. */
function strings(bytes: Uint8Array): string[] {
  if (bytes.length === 0) return [];
  const list = decodeText(bytes).split("\0");
  if (list.pop() !== "") throw new UnreadableError("StringArray without a zero byte at its end");
  return list;
}
