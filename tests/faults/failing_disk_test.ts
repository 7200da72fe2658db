/**
 * A disk that fails under the spool: rows 50 and 51 of the fault catalogue. Whatever cannot be written for sure is not
 * acknowledged, the gateway ends with what is wrong, and its successor goes on where the disk allows it.
 */
import assert from "node:assert/strict";
import { EIO, FaultyDisk, type Orders } from "../servers/faulty_disk.ts";
import { testWith } from "../servers/needs.ts";
import { SmallDisk } from "../servers/small_disk.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene, type SceneOptions, type Stream } from "./scene.ts";

async function sceneOn(
  stack: AsyncDisposableStack,
  dir: string,
  env: SceneOptions["env"] = {},
): Promise<{ scene: Scene; streams: Stream[] }> {
  const home = await Deno.makeTempDir({ prefix: "sluice-home-" });
  stack.defer(() => Deno.remove(home, { recursive: true }));
  const scene = stack.use(await Scene.start({ dir, home: `${home}/home.db`, env }));
  const streams = [await scene.stream({ qos: 1 }), await scene.stream({ qos: 2 })];
  await scene.sluice.until("some to be stored", (it) => it.totals.stored >= 100);
  return { scene, streams };
}

/** It ends by itself, says why, and what it has acknowledged is there. */
async function assertGivesUp(scene: Scene, says: RegExp): Promise<void> {
  await waitFor(() => !scene.sluice.running, { what: "the gateway to give up" });
  assert.equal(await scene.sluice.exitCode(), 1, scene.sluice.output);
  assert.match(scene.sluice.output, says);
  await scene.judgeWire();
}

async function goesOn(scene: Scene, streams: readonly Stream[]): Promise<void> {
  await scene.sluice.start();
  const { totals } = await scene.sluice.status();
  await scene.sluice.until("100 more to be stored", (it) => it.totals.stored >= totals.stored + 100);
  for (const stream of streams) await stream.stop();
  await scene.settle();
}

const ERRORS: readonly (readonly [string, Orders, RegExp])[] = [
  [
    "a write fails once",
    { writeFails: { errno: EIO, times: 1 }, suffix: "-wal" },
    /the spool cannot keep its promise: disk I\/O error \(SQLite error 778\)/,
  ],
  [
    "an fsync fails once",
    { fsyncFails: { errno: EIO, times: 1 }, suffix: "-wal" },
    /the spool cannot keep its promise: disk I\/O error \(SQLite error 1034\)/,
  ],
  [
    "every fsync fails from now on",
    { fsyncFails: { errno: EIO } },
    /the spool cannot keep its promise: disk I\/O error \(SQLite error 1034\)/,
  ],
];

for (const [what, orders, says] of ERRORS) {
  testWith(
    ["mosquitto", "faultyDisk"],
    `50: ${what}: nothing is acknowledged for it, the gateway ends, its successor goes on`,
    async () => {
      await using stack = new AsyncDisposableStack();
      const dir = await Deno.makeTempDir({ prefix: "sluice-failing-" });
      stack.defer(() => Deno.remove(dir, { recursive: true }));
      const disk = stack.use(await FaultyDisk.open(dir));
      const { scene, streams } = await sceneOn(stack, dir, disk.env);
      await disk.order(orders);
      await assertGivesUp(scene, says);
      await disk.order({});
      await goesOn(scene, streams);
    },
  );
}

testWith(
  ["mosquitto", "ext4Disk"],
  "51: a disk that turns read-only: the gateway ends and says so, also when it is started again; then it goes on",
  async () => {
    await using stack = new AsyncDisposableStack();
    const disk = stack.use(await SmallDisk.open({ megabytes: 64, kind: "ext4" }));
    const { scene, streams } = await sceneOn(stack, disk.dir);
    await disk.turnReadOnly();
    await assertGivesUp(scene, /the spool cannot keep its promise: .*Read-only file system/);
    scene.sluice.spawn();
    await assertGivesUp(scene, /(cannot keep its promise: .*Read-only file system[^]*){2}/);
    await disk.unmount();
    await disk.mount();
    // It had never been synced.
    await scene.sluice.configure(scene.config);
    await goesOn(scene, streams);
  },
);
