/**
 * Which of a route's filters leaves a message out. The router only says that one does; here it is found by trying the
 * route without them, one after another, in the order in which the gateway asks them.
 */
import type { Message } from "../message.ts";
import { createRouter } from "../route/mod.ts";
import type { RouteOptions } from "../route/options.ts";
import { formatDuration } from "../units.ts";

/** In one sentence, without the route's memory: what `keep` compares with is not known here. */
export function whyLeftOut(route: RouteOptions, message: Message, gateway: string): string {
  const { retained, when, keep, each } = route;
  if (message.retain && retained === "skip") return `"retained": "skip" leaves out retained messages`;
  const { when: _when, keep: _keep, ...bare } = route;
  const elements = rowsOf(bare, message, gateway);
  if (elements === 0) return nothingThere(route);
  const passed = when === undefined ? elements : rowsOf({ ...bare, when }, message, gateway);
  if (passed === 0) {
    return each !== undefined && elements > 1
      ? `"when": ${JSON.stringify(when)} is true for none of its ${elements} rows`
      : `"when": ${JSON.stringify(when)} ${
        isMissing(route, message, gateway)
          ? "needs a value that this message does not have"
          : "is not true for it"
      }`;
  }
  return `"keep" leaves it out: ${tooAlike(keep ?? {})} since the last row that was kept`;
}

function rowsOf(route: RouteOptions, message: Message, gateway: string): number {
  const router = createRouter({ routes: [{ ...route, retained: "store" }], gateway });
  const [{ lane, route: id }] = router.address(message.topic);
  return router.decode(lane, [{ ...message, sequence: 1, route: id }]).rows.length;
}

/** Whether the condition comes to NULL, which is what becomes of it when something is missing. */
function isMissing({ topic, decode, when }: RouteOptions, message: Message, gateway: string): boolean {
  const route = { topic, decode, table: "t", columns: { it: { value: `= ${when}`, type: "boolean" } } };
  const router = createRouter({ routes: [route], gateway });
  const [{ lane, route: id }] = router.address(message.topic);
  const { rows } = router.decode(lane, [{ ...message, sequence: 1, route: id }]);
  return rows[0]?.values[0] === null;
}

function nothingThere({ each, layout }: RouteOptions): string {
  if (each !== undefined) return `"each": ${JSON.stringify(each)} finds nothing in this payload`;
  return layout === "narrow" ? "the payload has none of the values that make rows" : "it makes no row";
}

function tooAlike(
  { onChange = [], deadband = {}, minIntervalMs }: NonNullable<RouteOptions["keep"]>,
): string {
  const watched = [
    ...onChange.filter((name) => !(name in deadband)),
    ...Object.entries(deadband).map(([name, band]) => `${name} (by ${band})`),
  ];
  const unchanged = watched.length > 0 ? `no change of ${watched.join(", ")}` : undefined;
  const soon = minIntervalMs === undefined ? undefined : `less than ${formatDuration(minIntervalMs)}`;
  return [unchanged, soon].filter((it) => it !== undefined).join(", or ");
}
