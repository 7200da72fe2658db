/**
 * The spool's file is hurt, deleted, or exchanged for an old one: rows 52 to 54 of the fault catalogue. What can be read
 * is delivered, what cannot is set aside and named, and what the database has already is not written twice.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { DatabaseSync } from "node:sqlite";
import { testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene, type SceneOptions } from "./scene.ts";

const PAGE_BYTES = 512;

/** A scene with so many messages waiting: the table's folder is not there, until `release` makes it. */
async function waitingScene(
  stack: AsyncDisposableStack,
  waiting: number,
  options: SceneOptions & { payloadBytes?: number } = {},
): Promise<{ scene: Scene; release: () => void }> {
  const dir = await Deno.makeTempDir({ prefix: "sluice-home-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const scene = stack.use(await Scene.start({ ...options, home: `${dir}/later/home.db` }));
  // In portions, so that they lie in many frames.
  for (let n = 0; n < waiting; n += waiting / 20) {
    await scene.publish(waiting / 20, { payloadBytes: options.payloadBytes ?? 300 });
  }
  await scene.sluice.until("the backlog", (it) => it.totals.pending >= waiting);
  return { scene, release: () => Deno.mkdirSync(`${dir}/later`) };
}

/** The same, but the gateway was stopped, and the table's folder is there. */
async function stoppedScene(...args: Parameters<typeof waitingScene>): Promise<Scene> {
  const { scene, release } = await waitingScene(...args);
  assert.equal(await scene.sluice.stop(), 0, scene.sluice.output);
  release();
  return scene;
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(at, Deno.SeekMode.Start);
  file.writeSync(bytes);
}

/** Where in the spool's file a piece of a frame's data lies: number `n` from the oldest on, or, below 0, from the youngest. */
function placeOf(path: string, n: number): number {
  using db = new DatabaseSync(path, { readOnly: true });
  const sql = `SELECT data FROM queue_1 ORDER BY first ${n < 0 ? "DESC" : ""} LIMIT 1 OFFSET ?`;
  const { data } = db.prepare(sql).get(Math.abs(n)) as { data: Uint8Array };
  const file = Buffer.from(Deno.readFileSync(path));
  // What lies across the end of a page is in two places.
  for (let offset = 0; offset + 40 <= data.length; offset += 40) {
    const at = file.indexOf(data.subarray(offset, offset + 40));
    if (at > 0) return at;
  }
  throw new Error("the frame is not in the file");
}

function aside(scene: Scene): string[] {
  return [...Deno.readDirSync(scene.sluice.dir)].map((it) => it.name)
    .filter((it) => it.startsWith("spool.db.damaged-") && !/-(wal|shm)$/.test(it));
}

/** All that was accepted is stored once, but for so many; and what is published from now on is stored as well. */
async function assertAllBut(
  scene: Scene,
  lost: (rows: ReadonlyMap<string, number>) => number,
): Promise<void> {
  const before = scene.accepted.size;
  const fresh = await scene.publish(20);
  await waitFor(async () => {
    const rows = await scene.rows();
    return fresh.every((id) => rows.has(id)) && (await scene.sluice.status()).totals.pending === 0;
  }, { what: "the new messages to be stored" });
  const rows = await scene.rows();
  assert.deepEqual([...rows].filter(([, n]) => n > 1), [], "stored twice");
  const missing = [...scene.accepted.keys()].filter((id) => !rows.has(id)).length;
  assert.equal(missing, lost(rows), `of ${before}\n${scene.sluice.output}`);
}

const lostIn = ({ sluice }: Scene) => Number(/(\d+) deliveries are lost/.exec(sluice.output)?.[1] ?? 0);

testWith(
  ["mosquitto"],
  "52: a destroyed page: the spool is set aside, what it cost is named, everything else is stored",
  async () => {
    await using stack = new AsyncDisposableStack();
    const scene = await stoppedScene(stack, 2_000);
    const at = placeOf(scene.spoolPath, 8);
    overwrite(scene.spoolPath, at - at % PAGE_BYTES, new Uint8Array(PAGE_BYTES).fill(0xa5));
    await scene.sluice.start();
    await assertAllBut(scene, () => lostIn(scene));
    assert.ok(lostIn(scene) > 0);
    assert.match(
      scene.sluice.output,
      /was damaged .*set aside as .*not readable: queue_1: what lies (between|after) [1-9]/,
    );
    assert.equal(aside(scene).length, 1);
  },
);

testWith(
  ["mosquitto"],
  "52: damage in a large spool is met at work: the gateway ends once, and its successor goes on around it",
  async () => {
    await using stack = new AsyncDisposableStack();
    const scene = await stoppedScene(stack, 12_000, { payloadBytes: 2_000 });
    assert.ok(Deno.statSync(scene.spoolPath).size > 20_000_000);
    overwrite(scene.spoolPath, placeOf(scene.spoolPath, -3) + 20, new Uint8Array(4).fill(0x5a));
    await scene.sluice.start();
    await waitFor(() => !scene.sluice.running, { what: "the damage to be met" });
    assert.equal(await scene.sluice.exitCode(), 1);
    assert.match(scene.sluice.output, /cannot keep its promise: messages \d+ to \d+ of t are damaged/);
    await scene.sluice.start();
    await assertAllBut(scene, () => lostIn(scene));
    assert.ok(lostIn(scene) > 0);
    assert.equal(aside(scene).length, 1);
  },
);

for (
  const [what, hurt, says] of [
    [
      "a destroyed header",
      (path) => overwrite(path, 0, new Uint8Array(100).fill(0xa5)),
      /was damaged .*set aside as .*not readable: everything/,
    ],
    [
      "no length",
      (path) => Deno.truncateSync(path, 0),
      /not the one that was used before .*messages that waited in it are lost/,
    ],
    [
      "been deleted while the gateway was down",
      (path) => Deno.removeSync(path),
      /not the one that was used before .*messages that waited in it are lost/,
    ],
  ] as readonly [string, (path: string) => void, RegExp][]
) {
  testWith(["mosquitto"], `52: a spool that has ${what}: it is told, and a new one begins`, async () => {
    await using stack = new AsyncDisposableStack();
    const scene = await stoppedScene(stack, 200);
    hurt(scene.spoolPath);
    await scene.sluice.start();
    await assertAllBut(scene, () => 200);
    assert.match(scene.sluice.output, says);
  });
}

for (
  const [what, remove] of [
    ["", (path) => Deno.removeSync(path)],
    [" with its log", (path) => ["", "-wal", "-shm"].forEach((it) => Deno.removeSync(path + it))],
  ] as readonly [string, (path: string) => void][]
) {
  testWith(
    ["mosquitto"],
    `53: a spool that is deleted${what} while it is in use: nothing more is acknowledged, and what was in it is put back`,
    async () => {
      await using stack = new AsyncDisposableStack();
      const { scene, release } = await waitingScene(stack, 300);
      remove(scene.spoolPath);
      await scene.publish(20);
      await waitFor(() => !scene.sluice.running, { what: "the gateway to give up" });
      assert.equal(await scene.sluice.exitCode(), 1);
      assert.match(
        scene.sluice.output,
        /was removed or replaced while it was in use; what was in it was put back/,
      );
      await scene.judgeWire();
      release();
      await scene.sluice.start();
      await scene.settle();
    },
  );
}

testWith(
  ["mosquitto"],
  "53: a spool that is replaced by another file while it is in use is saved beside it",
  async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, release } = await waitingScene(stack, 300);
    await Deno.writeTextFile(`${scene.sluice.dir}/other`, "");
    await Deno.rename(`${scene.sluice.dir}/other`, scene.spoolPath);
    await waitFor(() => !scene.sluice.running, { what: "the gateway to give up" });
    release();
    const saved = /what was in it was saved as (\S+\.replaced-\S+), and/.exec(scene.sluice.output)?.[1];
    assert.ok(saved, scene.sluice.output);
    await Deno.rename(saved, scene.spoolPath);
    await scene.sluice.start();
    await scene.settle();
  },
);
