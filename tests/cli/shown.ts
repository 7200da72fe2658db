/**
 * What a user sees, as a text that is the same in every run: ports, folders, versions and times are replaced by words.
 * Kept in golden/; UPDATE=1 writes it anew: read the difference as someone who does not know the program.
 */
import { assertGolden } from "../config/golden.ts";

const GOLDEN = new URL("./golden/", import.meta.url).href;

/** Each as wide as what it replaces mostly is, so that frames stay in shape. */
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/(127\.0\.0\.1|localhost):\d{5}\b/g, "$1:12345"],
  [/mosquitto version [\d.]+/g, "mosquitto version X"],
  [/\d+\.\d+\.\d+-MariaDB[^\s)]*/g, "X-MariaDB"],
  [/\((\d+\.\d+\.\d+)(-\d+)?\)/g, "(X)"],
  [
    /\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d{3}Z?/g,
    "2026-01-31 12:34:56.789",
  ],
  [/[\d.]+ [KMGT]iB free/g, "9.9 GiB free"],
  [/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, "01234567-89ab-cdef-0123-456789abcdef"],
];

/** `dir`: the scratch folder of the test. */
export function normal(text: string, dir: string, more: readonly (readonly [RegExp, string])[] = []): string {
  const plain = text.replaceAll(dir, "/home/pi").replaceAll("\r\n", "\n");
  return [...VOLATILE, ...more].reduce((result, [pattern, by]) => result.replaceAll(pattern, by), plain);
}

export async function assertShown(
  name: string,
  text: string,
  dir: string,
  more?: readonly (readonly [RegExp, string])[],
): Promise<void> {
  await assertGolden(GOLDEN, name, normal(text, dir, more));
}
