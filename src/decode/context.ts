/**
 * What a decoder may look at besides the payload: the topic, and what earlier messages of its route left behind.
 */
/** What earlier messages left behind: texts by key, kept over restarts. A `Map` will do. */
export interface Memory {
  get(key: string): string | undefined;
  set(key: string, value: string): unknown;
}

/** What a decoder may look at besides the payload. Without it, nothing is known and nothing is remembered. */
export interface Context {
  readonly topic: string;
  readonly memory: Memory;
}
