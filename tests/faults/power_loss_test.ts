/**
 * The power goes while the spool is at work: row 7 of the fault catalogue. What a process did to its disk is noted write
 * by write, and disks are made of it as they may be after a loss at any moment. `SEED=<number>` repeats a run as far as
 * chance goes, `LOSSES=<number>` makes it longer.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { type DiskEvent, FaultyDisk, readDiary } from "../servers/faulty_disk.ts";
import { testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";
import { assertSums, drain, range, Scratch } from "../spool/scratch_spool.ts";
import { seeded } from "./schedule.ts";
import { UnsyncedDisk } from "./unsynced_disk.ts";

/** Enough for SQLite's log to be written back several times, and for settled frames to be deleted. */
const COMMITS = 3_000;
const TEXT_BYTES = 600;
const LOSSES = Number(Deno.env.get("LOSSES") ?? 25);

/** What the appender does to its disk until it has acknowledged so often. What it says is written there, too. */
async function record(work: Scratch): Promise<DiskEvent[]> {
  const diary = `${work.dir}.diary`;
  await using disk = await FaultyDisk.open(work.dir, { diary });
  const script = new URL("../spool/appender.ts", import.meta.url).pathname;
  const child = new Deno.Command("sh", {
    args: [
      ...["-c", `exec "$@" > ${work.dir}/said`, "sh", Deno.execPath(), "run", "-A", "--no-check", script],
      ...[work.path, "1", `${TEXT_BYTES}`, "0"],
    ],
    env: disk.env,
  }).spawn();
  await waitFor(
    async () => (await Deno.readTextFile(`${work.dir}/said`)).split("acknowledged").length > COMMITS,
    { what: `${COMMITS} commits`, timeoutMs: 120_000, intervalMs: 100 },
  );
  child.kill("SIGKILL");
  await child.status;
  const events = readDiary(diary);
  await Deno.remove(diary);
  return events;
}

/** The last number that was said to be acknowledged, or to be about to be settled. */
function lastSaid(said: string, word: string): number {
  return Number([...said.matchAll(new RegExp(`^${word} (\\d+)`, "gm"))].at(-1)?.[1] ?? 0);
}

async function assertAllThere(
  files: ReadonlyMap<string, Uint8Array>,
  work: Scratch,
  said: string,
): Promise<void> {
  using disk = new Scratch();
  for (const [path, bytes] of files) Deno.writeFileSync(path.replace(work.dir, disk.dir), bytes);
  const acknowledged = lastSaid(said, "acknowledged");
  const settling = lastSaid(said, "settling");
  await using spool = await disk.open();
  assert.ok(!spool.notes.some((it) => /damage|not the one|log .* gone/.test(it)), `${spool.notes}`);
  await assertSums(spool);
  const numbers = (texts: readonly string[]) => texts.map((it) => it.split(" ")[0]);
  const a = numbers(await drain(spool, "a"));
  assert.ok(a.length >= acknowledged, `${acknowledged} were acknowledged, ${a.length} are there`);
  assert.deepEqual(a, range(1, a.length));
  const b = numbers(await drain(spool, "b"));
  assert.deepEqual(b, a.slice(a.length - b.length));
  assert.ok(a.length - b.length <= settling, "settled before it was said");
  await assertSums(spool);
  using db = new DatabaseSync(disk.path, { readOnly: true });
  assert.deepEqual(db.prepare("PRAGMA integrity_check").all().map((it) => ({ ...it })), [{
    integrity_check: "ok",
  }]);
}

testWith(
  ["faultyDisk"],
  "7: after a loss of power at any moment all that was acknowledged is there, whole and in order",
  async () => {
    const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
    console.log(`SEED=${seed}`);
    const random = seeded(seed);
    using work = new Scratch();
    const events = await record(work);
    const count = (kind: DiskEvent["kind"]) => events.filter((it) => it.kind === kind).length;
    console.log(`${count("write")} writes, ${count("sync")} fsyncs, ${count("truncate")} changes of length`);
    const moments = Array.from({ length: LOSSES }, () => Math.floor(random() * events.length)).sort((x, y) =>
      x - y
    );
    const disk = new UnsyncedDisk();
    let said = "", done = 0;
    for (const moment of moments) {
      for (; done < moment; done++) {
        const event = events[done];
        if (event.path !== `${work.dir}/said`) disk.add(event);
        else if (event.kind === "write") said += new TextDecoder().decode(event.bytes);
      }
      try {
        await assertAllThere(disk.afterLoss(random), work, said);
      } catch (error) {
        throw new Error(
          `SEED=${seed}: after ${moment} of ${events.length} events: ${(error as Error).message}`,
          {
            cause: error,
          },
        );
      }
    }
  },
);
