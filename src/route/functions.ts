/**
 * Functions of expressions beside those of CEL, for values of which only the device knows what they will be: `number(x)`
 * and `text(x)` split one value into a column of numbers and a column of texts, and lose nothing.
 *
 * `number` is a number, a text that is one, and 1 or 0 for a truth value and for what devices say for one (`on`, `OFF`,
 * `online`, ...); all else, as `nan` or `unavailable`, is NULL. `text` is any text that is not empty, an object or an
 * array as JSON, and the digits of a whole number that a double does not hold.
 */
import type { Environment } from "@marcbachmann/cel-js";
import { parseNumber } from "../decode/number.ts";
import { jsonText, truthOf } from "./convert.ts";
import { UnfitError } from "./unfit_error.ts";

export function registerFunctions(environment: Environment): void {
  environment.registerFunction("number(dyn): dyn", numberOf);
  environment.registerFunction("text(dyn): dyn", textOf);
}

function numberOf(value: unknown): unknown {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value) ? value : null;
    case "bigint":
      return value;
    case "boolean":
      return value ? 1 : 0;
    case "string": {
      const number = parseNumber(value.trim());
      if (number !== undefined) return Number(number);
      const truth = truthOf(value);
      return truth === undefined ? null : truth ? 1 : 0;
    }
  }
  return null;
}

function textOf(value: unknown): unknown {
  if (typeof value === "string") return value === "" ? null : value;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? null : String(value);
  if (value instanceof Uint8Array) {
    throw new UnfitError(`${value.length} bytes are neither a number nor a text`);
  }
  return typeof value === "object" && value !== null ? jsonText(value) : null;
}
