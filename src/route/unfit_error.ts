/**
 * A value does not fit its column. Its message is the reason of a dead letter: one sentence, for people.
 */
export class UnfitError extends Error {
  override name = "UnfitError";
}

/** A value as a message shows it: short, and whatever it is. */
export function shown(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return JSON.stringify(String(value).slice(0, 40));
}
