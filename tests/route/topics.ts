/**
 * Topics and topic filters to try, and MQTT 5 section 4.7 as plainly as it can be written.
 */
import fc from "fast-check";

export function matchesFilter(filter: string, topic: string): boolean {
  if (topic.startsWith("$") && /^[+#]/.test(filter)) return false;
  return matchesRest(filter.split("/"), topic.split("/"));
}

function matchesRest(filter: string[], topic: string[]): boolean {
  if (filter.length === 0) return topic.length === 0;
  if (filter[0] === "#") return true;
  if (topic.length === 0) return false;
  return (filter[0] === "+" || filter[0] === topic[0]) && matchesRest(filter.slice(1), topic.slice(1));
}

/** Few words, so that filters and topics meet often; empty levels and $ are legal. */
const word = fc.constantFrom("a", "b", "", "$SYS", "ä");

export const topics = fc.array(word, { minLength: 1, maxLength: 4 }).map((it) => it.join("/"))
  .filter((it) => it !== "");

export const filters = fc.tuple(
  fc.array(fc.oneof(word, fc.constant("+")), { maxLength: 4 }),
  fc.constantFrom([], ["#"]),
).map(([levels, end]) => [...levels, ...end].join("/")).filter((it) => it !== "");
