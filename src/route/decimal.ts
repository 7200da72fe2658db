/**
 * Numbers for DECIMAL columns: with exactly their digits, rounded to the column's scale as MySQL rounds (half away from
 * zero), and refused where they have more digits before the point than the column. Databases thereby store the same,
 * and a value that does not fit is known before it gets there.
 */
import type { ColumnType } from "../column_type.ts";
import { UnfitError } from "./unfit_error.ts";

const NUMBER = /^([-+]?)(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?$/;

/** `value`: finite, or the text of a number. */
export function fitDecimal(value: number | bigint | string, type: ColumnType): number | bigint | string {
  const { sign, whole, fraction } = digitsOf(value);
  const scale = type.scale!;
  const rounded = fraction.length <= scale
    ? { whole, fraction }
    : roundedUp(whole + fraction.slice(0, scale), fraction.charCodeAt(scale) >= 0x35, scale);
  const isNegative = sign === "-" && /[1-9]/.test(rounded.whole + rounded.fraction);
  if (rounded.whole.length > type.precision! - scale || isNegative && type.unsigned) {
    throw new UnfitError(`${value} is outside of ${type.sql.toLowerCase()}`);
  }
  if (fraction.length <= scale && typeof value !== "number") return value;
  // Not the negative zero, which is a number of its own to a driver.
  if (Number.isSafeInteger(value)) return Number(value) + 0;
  const point = rounded.fraction === "" ? "" : ".";
  return `${isNegative ? "-" : ""}${rounded.whole || "0"}${point}${rounded.fraction}`;
}

/** Without zeros before the number and after its last decimal place. */
function digitsOf(value: number | bigint | string): { sign: string; whole: string; fraction: string } {
  const [, sign, before, after, exponent = "0"] = NUMBER.exec(String(value))!;
  const shift = Number(exponent);
  const digits = before + after;
  const point = before.length + shift;
  const padded = point > digits.length
    ? digits.padEnd(point, "0")
    : point < 0
    ? "0".repeat(-point) + digits
    : digits;
  const at = Math.max(0, point);
  return {
    sign,
    whole: padded.slice(0, at).replace(/^0+/, ""),
    fraction: padded.slice(at).replace(/0+$/, ""),
  };
}

function roundedUp(digits: string, up: boolean, scale: number): { whole: string; fraction: string } {
  const number = up ? String(BigInt(digits || "0") + 1n).padStart(digits.length, "0") : digits;
  const at = number.length - scale;
  return { whole: number.slice(0, at).replace(/^0+/, ""), fraction: number.slice(at) };
}
