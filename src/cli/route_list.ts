/**
 * The routes of a configuration as one could write them instead of the presets, each preset with what it says of itself.
 */
import type { LoadedConfig } from "../config/load.ts";
import { routeText } from "../discover/route_text.ts";
import { PRESET } from "../route/mod.ts";
import type { PresetName, RouteOptions } from "../route/options.ts";

/** Lines: for programs a route each, for people with comments. */
export function routeList({ config: { routes } }: LoadedConfig, json: boolean): string[] {
  if (json) return routes.map((it) => JSON.stringify(asWritten(it)));
  let before: PresetName | undefined;
  return routes.flatMap((route) => {
    const { family } = route;
    const { title, notes } = family && family !== before ? PRESET[family] : { title: "", notes: [] };
    before = family;
    const comments = title ? [`// ${family}: ${title}`, ...notes.map((it) => `// ${it}`)] : [];
    return [...comments, `${routeText(asWritten(route))}\n`];
  });
}

/** Durations as a configuration writes them, and nothing that it may not say. */
function asWritten({ keep, retentionMs, family: _family, ...route }: RouteOptions): RouteOptions {
  const { minIntervalMs, maxIntervalMs, ...watched } = keep ?? {};
  const duration = (name: string, ms?: number) => ms === undefined ? {} : { [name]: durationText(ms) };
  const written = {
    ...watched,
    ...duration("minInterval", minIntervalMs),
    ...duration("maxInterval", maxIntervalMs),
  };
  return { ...route, ...(keep && { keep: written }), ...duration("retention", retentionMs) };
}

const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1_000], ["ms", 1]] as const;

/** In the largest unit of which it is a whole number. */
function durationText(ms: number): string {
  const [unit, size] = UNITS.find(([, size]) => ms % size === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}
