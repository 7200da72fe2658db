/**
 * Topic patterns: literal levels, `{name}` or `+` for one level, `{name...}` or `#` for the rest (one level or more for
 * `{name...}`, none or more for `#`, which is MQTT 5 section 4.7.1).
 */
export type Level =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "one"; readonly name: string | undefined }
  | { readonly kind: "rest"; readonly name: string | undefined };

export interface TopicPattern {
  readonly text: string;
  readonly levels: readonly Level[];
  /** Names of its placeholders, from left to right. */
  readonly names: readonly string[];
  /** True where a wildcard has no name, so that the names do not tell the whole topic. */
  readonly anonymous: boolean;
  /** The MQTT topic filter that matches the same topics. */
  readonly filter: string;
}

const PLACEHOLDER = /^\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}$/;

/** Reads a pattern; throws `TypeError` that says what is wrong. */
export function parsePattern(text: string): TopicPattern {
  if (text === "") throw new TypeError("a topic must not be empty");
  if (text.includes("\0")) throw new TypeError("a topic must not contain the character NUL");
  const parts = text.split("/");
  const levels = parts.map((part, i): Level => {
    const last = i === parts.length - 1;
    const match = PLACEHOLDER.exec(part);
    if (match?.[2] || part === "#") {
      if (!last) throw new TypeError(`"${part}" in the topic "${text}" must be its last level`);
      return { kind: "rest", name: match?.[1] };
    }
    if (match || part === "+") return { kind: "one", name: match?.[1] };
    if (/[+#{}]/.test(part)) {
      throw new TypeError(
        `the level "${part}" in the topic "${text}" is neither a text nor one placeholder: a placeholder takes a whole level, like {room}`,
      );
    }
    return { kind: "literal", text: part };
  });
  const names = levels.flatMap((it) => it.kind !== "literal" && it.name !== undefined ? [it.name] : []);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice) throw new TypeError(`{${twice}} occurs twice in the topic "${text}"`);
  const filter = levels.map((it) => it.kind === "literal" ? it.text : it.kind === "one" ? "+" : "#").join(
    "/",
  );
  const anonymous = levels.some((it) => it.kind !== "literal" && it.name === undefined);
  return { text, levels, names, anonymous, filter };
}

/** What the placeholders stand for in a topic, in the order of `names`, or null where it does not match. */
export function matchPattern(
  { levels }: TopicPattern,
  topicLevels: readonly string[],
): string[] | null {
  // A wildcard at the beginning does not match topics that begin with $ (MQTT 5 section 4.7.2).
  if (levels[0].kind !== "literal" && topicLevels[0].startsWith("$")) return null;
  const values: string[] = [];
  for (let i = 0; i < levels.length; i++) {
    const level = levels[i];
    if (level.kind === "rest") {
      if (level.name !== undefined && i >= topicLevels.length) return null;
      if (level.name !== undefined) values.push(topicLevels.slice(i).join("/"));
      return values;
    }
    if (i >= topicLevels.length) return null;
    if (level.kind === "literal") {
      if (level.text !== topicLevels[i]) return null;
    } else if (level.name !== undefined) values.push(topicLevels[i]);
  }
  return topicLevels.length === levels.length ? values : null;
}
