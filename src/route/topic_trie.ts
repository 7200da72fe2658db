/**
 * Topic patterns as a tree of levels: finds all that match a topic in a time that depends on the topic's length, not on
 * how many patterns there are.
 *
 * A node is one level. Matching walks the literal child and the child for any one level, and collects the ends that it
 * passes; this gives what `matchPattern` gives for each pattern alone.
 */
import type { Level } from "./pattern.ts";

interface Entry<T> {
  readonly value: T;
  /** Position among all that were added: matches come out in this order. */
  readonly order: number;
}

interface Node<T> {
  readonly literals: Map<string, Node<T>>;
  one: Node<T> | undefined;
  /** Patterns that end here. */
  readonly ends: Entry<T>[];
  /** Patterns that end here with `#`: this level and everything below. */
  readonly rests: Entry<T>[];
  /** Patterns that end here with `{name...}`: everything below, at least one level. */
  readonly namedRests: Entry<T>[];
}

const node = <T>(): Node<T> => ({
  literals: new Map(),
  one: undefined,
  ends: [],
  rests: [],
  namedRests: [],
});

export class TopicTrie<T> {
  readonly #root = node<T>();
  #count = 0;

  add(levels: readonly Level[], value: T): void {
    const entry = { value, order: this.#count++ };
    let at = this.#root;
    for (const level of levels) {
      if (level.kind === "rest") {
        (level.name === undefined ? at.rests : at.namedRests).push(entry);
        return;
      }
      at = level.kind === "one" ? (at.one ??= node()) : childOf(at, level.text);
    }
    at.ends.push(entry);
  }

  /** All that match, in the order in which they were added. */
  match(topic: string): T[] {
    const found: Entry<T>[] = [];
    const levels = topic.split("/");
    // A wildcard at the beginning does not match topics that begin with $ (MQTT 5 section 4.7.2).
    if (levels[0].startsWith("$")) {
      const child = this.#root.literals.get(levels[0]);
      if (child) collect(child, levels, 1, found);
    } else collect(this.#root, levels, 0, found);
    if (found.length > 1) found.sort((a, b) => a.order - b.order);
    return found.map((it) => it.value);
  }
}

function childOf<T>({ literals }: Node<T>, text: string): Node<T> {
  let child = literals.get(text);
  if (!child) literals.set(text, child = node());
  return child;
}

function collect<T>(at: Node<T>, levels: readonly string[], depth: number, found: Entry<T>[]): void {
  found.push(...at.rests);
  if (depth === levels.length) {
    found.push(...at.ends);
    return;
  }
  found.push(...at.namedRests);
  const literal = at.literals.get(levels[depth]);
  if (literal) collect(literal, levels, depth + 1, found);
  if (at.one) collect(at.one, levels, depth + 1, found);
}
