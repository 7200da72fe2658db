/**
 * A payload is not what its decoder reads. Its message is the reason of a dead letter: one sentence, for people.
 */
export class UnreadableError extends Error {
  override name = "UnreadableError";
}
