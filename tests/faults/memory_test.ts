/**
 * Memory is short: row 58 of the fault catalogue. The gateway has little more than it needs at rest when a flood comes,
 * and the kernel kills it where it wants more; again and again, until the flood is over and there is memory again.
 */
import assert from "node:assert/strict";
import { MemoryLimit } from "../servers/memory_limit.ts";
import { testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene } from "./scene.ts";

/** Beside what is in use at rest: less than one window of large messages takes. */
const SPARE_MB = 4;
const COUNT = 1_000;
const PAYLOAD_BYTES = 80_000;
const KILLS_MAX = 5;

testWith(
  ["mosquitto", "memoryLimit"],
  "58: a gateway that is killed for want of memory in a flood has lost nothing, and goes on when there is some",
  async () => {
    using limit = new MemoryLimit();
    await using scene = await Scene.start({ command: limit.command });
    await scene.publish(10);
    await scene.settle();
    limit.set(Math.ceil(limit.usedMb) + SPARE_MB);
    let isOver = false;
    const flood = scene.publish(COUNT, { payloadBytes: PAYLOAD_BYTES }).then(() => void (isOver = true));
    let kills = 0;
    for (; kills < KILLS_MAX; kills++) {
      const passed = await waitFor(
        async () => !scene.sluice.running ? "killed" : isOver && await isQuiet(scene) ? "quiet" : false,
        { what: "the gateway to be killed, or the flood to pass", timeoutMs: 120_000, intervalMs: 50 },
      );
      if (passed === "quiet") break;
      await scene.judgeWire();
      scene.sluice.spawn();
    }
    console.log(`killed ${kills} times`);
    assert.ok(kills > 0, "so much memory it can do with");
    limit.lift();
    await flood;
    await waitFor(() => scene.sluice.running || (scene.sluice.spawn(), false), {
      what: "the gateway to run",
    });
    await scene.settle();
    await scene.judgeWire();
  },
);

/** Whether everything that was published is stored. */
async function isQuiet(scene: Scene): Promise<boolean> {
  const status = await scene.sluice.status().catch(() => undefined);
  return status !== undefined && status.totals.pending === 0 && status.totals.stored >= COUNT;
}
