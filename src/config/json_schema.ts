/**
 * The configuration's schema as JSON Schema (draft 07), made from the one that the program itself uses.
 */
import { toJsonSchema } from "@valibot/to-json-schema";
import { configSchema } from "./schema.ts";

export function jsonSchema(): object {
  // Parsing of durations, sizes and secrets has no counterpart there: what they take is a string.
  const schema = toJsonSchema(configSchema, { typeMode: "input", errorMode: "ignore" });
  return { ...schema, title: "Sluice configuration", allowComments: true, allowTrailingCommas: true };
}
