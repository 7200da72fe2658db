import assert from "node:assert/strict";
import fc from "fast-check";
import { formatDuration, formatSize, parseDuration, parseSize } from "../src/units.ts";
import { VERSION } from "../src/cli/version.ts";

Deno.test("durations and sizes are what their units say", () => {
  fc.assert(fc.property(fc.nat(10_000), (n) => {
    assert.equal(parseDuration(`${n}ms`), n);
    assert.equal(parseDuration(`${n}s`), n * 1_000);
    assert.equal(parseDuration(`${n}h`), n * 3_600_000);
    assert.equal(parseDuration(`${n}d`), n * 86_400_000);
    assert.equal(parseSize(`${n}B`), n);
    assert.equal(parseSize(`${n}KiB`), n * 1_024);
    assert.equal(parseSize(`${n}GB`), n * 1e9);
  }));
});

Deno.test("what is no duration or size is refused with an example", () => {
  for (const text of ["", "10", "-1s", "1 hour", "s", "1e3s", "10S"]) {
    assert.throws(() => parseDuration(text), /like "250ms"/);
  }
  for (const text of ["", "10", "1 gig", "-1KiB", "KiB"]) {
    assert.throws(() => parseSize(text), /like "64KiB"/);
  }
});

Deno.test("durations and sizes are shown to people in the unit that fits", () => {
  assert.deepEqual([340, 12_000, 180_000, 7_500_000, 176_400_000].map(formatDuration), [
    "340 ms",
    "12 s",
    "3 min",
    "2 h 5 min",
    "2 d 1 h",
  ]);
  assert.deepEqual([512, 65_536, 1_610_612_736].map(formatSize), ["512 B", "64 KiB", "1.5 GiB"]);
});

Deno.test("the program's version is the manifest's", async () => {
  const manifest = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  assert.equal(VERSION, manifest.version);
});
