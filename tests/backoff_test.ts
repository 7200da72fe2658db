import assert from "node:assert/strict";
import { Backoff } from "../src/backoff.ts";

Deno.test("waits grow to their bound, each of them between a tenth and the whole of it, and begin anew after a success", () => {
  const bounds = [100, 200, 400, 800, 1000, 1000];
  for (const [random, share] of [[0, 0.1], [0.5, 0.55], [1, 1]] as const) {
    const backoff = new Backoff({ firstMs: 100, maxMs: 1000, random: () => random });
    assert.deepEqual(
      bounds.map(() => Math.round(backoff.nextMs())),
      bounds.map((it) => Math.round(it * share)),
    );
    backoff.reset();
    assert.equal(Math.round(backoff.nextMs()), Math.round(100 * share));
  }
});

Deno.test("two that fail in step do not come back in step", () => {
  const [one, other] = [new Backoff(), new Backoff()];
  const waits = (backoff: Backoff) => Array.from({ length: 8 }, () => backoff.nextMs());
  assert.notDeepEqual(waits(one), waits(other));
});
