/**
 * A value does not fit its column. Its message is the reason of a dead letter: one sentence, for people.
 */
export class UnfitError extends Error {
  override name = "UnfitError";
}
