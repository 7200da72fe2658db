/**
 * Each of the 28 points of what an ideal pool does has a test that begins with its number.
 */
import assert from "node:assert/strict";

const POINTS = 28;
const FOLDERS = ["../pool/", "../mysql/"];

Deno.test("each of the 28 points has a test of its own", () => {
  const found = new Map<number, string>();
  for (const folder of FOLDERS) {
    const url = new URL(folder, import.meta.url);
    for (const { name } of Deno.readDirSync(url)) {
      if (!name.endsWith("_test.ts")) continue;
      const text = Deno.readTextFileSync(new URL(name, url));
      for (const [, numbers] of text.matchAll(/["`](\d+(?:, \d+)*): \w/g)) {
        for (const number of numbers.split(", ")) found.set(Number(number), name);
      }
    }
  }
  const missing = Array.from({ length: POINTS }, (_, i) => i + 1).filter((point) => !found.has(point));
  assert.deepEqual(missing, []);
  assert.ok([...found.keys()].every((point) => point >= 1 && point <= POINTS), "there is no such point");
});
