/**
 * How the topics of one filter stand to those of another. Pure, and without a tree: for a few filters.
 */
export type Relation = "same" | "wider" | "narrower" | "crossing" | "apart";

/** How the topics of one filter stand to those of another. */
export function relationOf(one: readonly string[], other: readonly string[]): Relation {
  let wider = false, narrower = false;
  for (let i = 0;; i++) {
    const [a, b] = [one[i], other[i]];
    if (a === undefined && b === undefined) break;
    if (a === "#" || b === "#") {
      if (a !== b) a === "#" ? wider = true : narrower = true;
      const rest = a === "#" ? other.slice(i) : one.slice(i);
      // `a/#` takes `a`, too.
      if (a !== b && i === 0 && (rest[0] ?? "").startsWith("$")) return "apart";
      break;
    }
    if (a === undefined || b === undefined) return "apart";
    if (a === b) continue;
    if (a === "+") wider = true;
    else if (b === "+") narrower = true;
    else return "apart";
    if (i === 0 && (a.startsWith("$") || b.startsWith("$"))) return "apart";
  }
  return wider && narrower ? "crossing" : wider ? "wider" : narrower ? "narrower" : "same";
}
