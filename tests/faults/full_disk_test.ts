/**
 * A disk without a free byte: row 49 of the fault catalogue. Nothing more is acknowledged, what is there drains, and it
 * goes on by itself.
 */
import assert from "node:assert/strict";
import { testWith } from "../servers/needs.ts";
import { SmallDisk } from "../servers/small_disk.ts";
import { assertSums, publish, Scratch, stored, textsOf, to } from "../spool/scratch_spool.ts";
import { Scene, type SceneOptions } from "./scene.ts";
import { packets } from "./wire.ts";

const MEGABYTES = 64;
const PAYLOAD_BYTES = 2_000;

async function sceneOnSmallDisk(
  stack: AsyncDisposableStack,
  options: SceneOptions = {},
): Promise<{ scene: Scene; disk: SmallDisk }> {
  const disk = stack.use(await SmallDisk.open({ megabytes: MEGABYTES }));
  const dir = await Deno.makeTempDir({ prefix: "sluice-home-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const scene = stack.use(await Scene.start({ ...options, dir: disk.dir, home: `${dir}/home.db` }));
  return { scene, disk };
}

const acknowledged = (scene: Scene) =>
  packets(scene.proxy, 5).filter(({ packet }) => packet.cmd === "puback").length;

/** Waits until what the broker has is not acknowledged any more. */
async function waitUntilFull(scene: Scene): Promise<void> {
  await scene.sluice.until("the spool to be full", (it) => it.spool.full === true);
  const before = acknowledged(scene);
  await scene.publish(20);
  await scene.sluice.until("it to be still full", (it) => it.spool.full === true);
  assert.equal(acknowledged(scene), before, "acknowledged although the disk is full");
}

testWith(
  ["mosquitto", "smallDisk"],
  "49: a disk that fills up: no acknowledgement more, what is there drains, and it goes on when there is room",
  async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, disk } = await sceneOnSmallDisk(stack);
    await scene.publish(10);
    {
      using _held = await scene.holdDatabase();
      // Some of them are dead letters, which draining must be able to keep.
      await scene.publish(6_000, { payloadBytes: PAYLOAD_BYTES });
      await scene.publish(50, { broken: true });
      await scene.sluice.until("the backlog", (it) => it.totals.pending >= 6_050);
      await disk.fill();
      await scene.publish(2_000, { payloadBytes: PAYLOAD_BYTES });
      await waitUntilFull(scene);
      assert.match(scene.sluice.output, /disk of the spool is full.*nothing more is acknowledged/);
    }
    // Not a byte is free on the disk, and yet everything arrives.
    await scene.settle();
    assert.doesNotMatch(scene.sluice.output, /cannot keep its promise/);
    await disk.free();
    await scene.publish(100);
    await scene.settle();
  },
);

for (const [ended, how] of [["kill", "was killed"], ["stop", "was stopped"]] as const) {
  testWith(
    ["mosquitto", "smallDisk"],
    `49: a gateway that ${how} starts on a full disk, drains and goes on`,
    async () => {
      await using stack = new AsyncDisposableStack();
      const { scene, disk } = await sceneOnSmallDisk(stack);
      await scene.publish(10);
      {
        using _held = await scene.holdDatabase();
        await scene.publish(3_000, { payloadBytes: PAYLOAD_BYTES });
        await scene.sluice.until("the backlog", (it) => it.totals.pending >= 3_000);
        if (ended === "kill") await scene.kill();
        else assert.equal(await scene.sluice.stop(), 0);
        await disk.fill();
        await scene.publish(2_000, { payloadBytes: PAYLOAD_BYTES });
        await scene.sluice.start();
        await scene.sluice.until("it to notice", (it) => it.spool.full === true);
      }
      await scene.sluice.until("what was there to be drained", (it) => it.totals.pending === 0);
      await disk.free();
      await scene.settle();
    },
  );
}

testWith(
  ["smallDisk"],
  "49: a batch whose settling could not be made durable is read again, though nothing new comes",
  async () => {
    await using disk = await SmallDisk.open({ megabytes: 16 });
    using scratch = new Scratch(disk.dir);
    await using spool = await scratch.open();
    await spool.append([publish(1)], to("a"));
    const stop = new AbortController();
    const settled = Promise.withResolvers<void>();
    const reading = (async () => {
      let times = 0;
      for await (const batch of spool.batches("a", stop.signal)) {
        assert.deepEqual(textsOf(batch), ["1"]);
        if (++times === 2) break;
        // More than what is left of the log's last page.
        await spool.settle(batch, { ...stored(batch), memory: [["key", "x".repeat(50_000)]] });
        settled.resolve();
      }
    })();
    await disk.fill();
    await settled.promise;
    // By the second answer the lane waits for news. This takes the settling back.
    for (let n = 0; n < 2; n++) await spool.ping();
    void spool.append([publish(2)], to("b"), stop.signal).catch(() => {});
    await reading;
    await disk.free();
    stop.abort();
    await assertSums(spool);
  },
);
