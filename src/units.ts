/**
 * Durations and sizes as people write them in a configuration: `250ms`, `30s`, `1h`, `7d`; `64KiB`, `1GiB`.
 */

const DURATIONS = { ms: 1, s: 1_000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZES = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
} as const;

/** Milliseconds of `250ms`, `1.5s`, `10m`, `1h`, `7d`. Throws `TypeError` that says what was expected. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)$/.exec(text.trim());
  if (!match) {
    throw new TypeError(
      `"${text}" is not a duration: expected a number with a unit, like "250ms", "30s", "10m", "1h" or "7d"`,
    );
  }
  return Number(match[1]) * DURATIONS[match[2] as keyof typeof DURATIONS];
}

/** Bytes of `64KiB`, `1.5GiB`, `100MB`. Throws `TypeError` that says what was expected. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]iB|kB|MB|GB|B)$/.exec(text.trim());
  if (!match) {
    throw new TypeError(
      `"${text}" is not a size: expected a number with a unit, like "64KiB", "100MB" or "1GiB"`,
    );
  }
  return Math.floor(Number(match[1]) * SIZES[match[2] as keyof typeof SIZES]);
}

/** For people: `340 ms`, `12 s`, `3 min`, `2 h 5 min`, `4 d 2 h`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  const minutes = Math.round(ms / 60_000);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** For people: `512 B`, `64 KiB`, `1.5 GiB`. */
export function formatSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes, unit = 0;
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${units[unit]}`;
}
