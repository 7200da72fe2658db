/**
 * Every way in which the files of a spool may be hurt: what can be read is delivered, what cannot is named and lies
 * beside the spool, and nothing ends in a crash or a silence.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { GiveUpError } from "../../src/errors.ts";
import type { SqliteSpool } from "../../src/spool/spool.ts";
import { seeded } from "../faults/schedule.ts";
import {
  assertSums,
  drain,
  letter,
  nextBatch,
  publish,
  range,
  Scratch,
  stored,
  to,
} from "./scratch_spool.ts";

const PAGE_BYTES = 512;

/** A closed spool: 1 to 100 settled, 101 to 400 waiting in lanes a and b, a dead letter in each, 4 messages a frame. */
async function filled(scratch: Scratch): Promise<string> {
  await using spool = await scratch.open({ batchCountMax: 100 });
  for (let n = 1; n <= 400; n += 4) {
    const messages = [n, n + 1, n + 2, n + 3].map((it) => publish(`${it} ${"x".repeat(it % 300)}`));
    await spool.append(messages, to("a", "b"));
  }
  for (const lane of ["a", "b"]) {
    const batch = (await nextBatch(spool, lane))!;
    assert.equal(batch.deliveries.length, 100);
    await spool.settle(batch, { stored: 99, filtered: 0, rows: 99, dead: [letter(batch, 7)] });
  }
  return spool.identity;
}

const numbers = (texts: readonly string[]) => texts.map((it) => it.split(" ")[0]);

/**
 * What waits in both lanes, which must be some of `from` to 400 in order; and that the sums hold. Where the place of a
 * lane is lost, what was settled waits again, which the ledger makes harmless.
 */
async function waiting(spool: SqliteSpool, from = 101): Promise<{ a: string[]; b: string[] }> {
  await assertSums(spool);
  const a = numbers(await drain(spool, "a"));
  const b = numbers(await drain(spool, "b"));
  for (const it of [a, b]) assert.deepEqual(it, range(from, 400).filter((n) => it.includes(n)));
  await assertSums(spool);
  return { a, b };
}

/** Copies the files as a crash would leave them. */
function crashed(from: Scratch, to: Scratch): void {
  for (const suffix of ["", "-wal", ".identity"]) Deno.copyFileSync(from.path + suffix, to.path + suffix);
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(at, Deno.SeekMode.Start);
  file.writeSync(bytes);
}

/** Where in the file the bytes of a frame begin: those that lie in the row's own page. */
function frameAt(path: string, lane: string, sequence: number): number {
  using db = new DatabaseSync(path, { readOnly: true });
  const { id } = db.prepare("SELECT id FROM lane WHERE name = ?").get(lane) as { id: number };
  const { data } = db.prepare(`SELECT data FROM queue_${id} WHERE first <= ? ORDER BY first DESC LIMIT 1`)
    .get(sequence) as { data: Uint8Array };
  const text = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);
  const at = text(Deno.readFileSync(path)).indexOf(text(data.subarray(0, 60)));
  assert.ok(at > 0, `${data.length} bytes`);
  return at;
}

function aside(scratch: Scratch): string[] {
  return scratch.names().filter((it) => it.startsWith("spool.db.damaged-") && !/-(wal|shm)$/.test(it));
}

Deno.test("a file that is no database is set aside, and a new spool begins", async () => {
  using scratch = new Scratch();
  const identity = await filled(scratch);
  const rubbish = "this is no database at all".repeat(1_000);
  Deno.writeTextFileSync(scratch.path, rubbish);
  await using spool = await scratch.open();
  assert.equal(spool.notes.length, 1);
  assert.match(spool.notes[0], /was damaged \(file is not a database\).*set aside as .*everything/);
  assert.equal(Deno.readTextFileSync(`${scratch.dir}/${aside(scratch)[0]}`), rubbish);
  assert.notEqual(spool.identity, identity);
  await spool.append([publish(1)], to("a"));
  assert.deepEqual(await drain(spool, "a"), ["1"]);
});

for (
  const [what, hurt] of [
    ["an empty file", (path) => Deno.truncateSync(path, 0)],
    ["a deleted file", (path) => Deno.removeSync(path)],
  ] as readonly [string, (path: string) => void][]
) {
  Deno.test(`${what} is missed, and a new spool begins`, async () => {
    using scratch = new Scratch();
    const identity = await filled(scratch);
    hurt(scratch.path);
    await using spool = await scratch.open();
    assert.equal(spool.notes.length, 1);
    assert.match(spool.notes[0], /not the one that was used before .*messages that waited in it are lost/);
    assert.notEqual(spool.identity, identity);
    await spool.append([publish(1)], to("a"));
    assert.deepEqual(await drain(spool, "a"), ["1"]);
  });
}

Deno.test("a frame with a flipped byte is named, all others are delivered, the original stays", async () => {
  using scratch = new Scratch();
  const identity = await filled(scratch);
  overwrite(scratch.path, frameAt(scratch.path, "a", 480) + 50, Uint8Array.of(0x3f));
  const hurt = Deno.readFileSync(scratch.path);
  await using spool = await scratch.open();
  assert.equal(spool.identity, identity);
  assert.match(
    spool.notes[0],
    /was damaged \(messages \d+ to \d+ of a are damaged\).*the frame at \d+ of a/,
  );
  assert.match(spool.notes[1], /4 deliveries are lost/);
  assert.deepEqual(Deno.readFileSync(`${scratch.dir}/${aside(scratch)[0]}`), hurt);
  assert.equal(spool.highestAtOpen, 800);
  const { a, b } = await waiting(spool);
  assert.equal(a.length + b.length, 596);
  assert.equal(spool.stats.totals.dropped, 4);
  assert.equal(spool.stats.deadLetters, 2);
});

Deno.test("a destroyed page costs what was on it, and what it cost is named", async () => {
  using scratch = new Scratch();
  const identity = await filled(scratch);
  const pages = Deno.statSync(scratch.path).size / PAGE_BYTES;
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`SEED=${seed}`);
  const random = seeded(seed);
  for (let round = 0; round < 16; round++) {
    using copy = new Scratch();
    for (const suffix of ["", ".identity"]) Deno.copyFileSync(scratch.path + suffix, copy.path + suffix);
    const page = 1 + Math.floor(random() * (pages - 1));
    overwrite(copy.path, page * PAGE_BYTES, new Uint8Array(PAGE_BYTES).fill(0xa5));
    await using spool = await copy.open();
    const said = `page ${page}: ${spool.notes}`;
    const numbersLost = /journal/.test(spool.notes[0]);
    const { a, b } = await waiting(spool, numbersLost ? 1 : 101);
    const lost = [a, b].reduce((sum, it) => sum + range(101, 400).filter((n) => !it.includes(n)).length, 0);
    assert.equal(aside(copy).length, spool.notes.length > 0 ? 1 : 0, said);
    if (/not readable: everything/.test(spool.notes[0])) {
      // SQLite's own list of tables: without it there is no reading.
      assert.deepEqual([lost, spool.highestAtOpen], [600, 0], said);
      continue;
    }
    if (spool.notes.length === 0) assert.equal(lost, 0, said);
    else if (!numbersLost) assert.equal(spool.stats.totals.dropped, lost, said);
    // Only the page that holds it can take the identity along, and it lies beside the spool as well.
    assert.equal(spool.identity, identity, said);
    assert.ok(spool.highestAtOpen >= 800, said);
  }
});

Deno.test("a file that was cut off is rescued up to there", async () => {
  using scratch = new Scratch();
  await filled(scratch);
  Deno.truncateSync(scratch.path, Math.floor(Deno.statSync(scratch.path).size * 0.6));
  await using spool = await scratch.open();
  assert.match(spool.notes[0], /was damaged .*not readable: .*after/);
  const { a, b } = await waiting(spool, 1);
  assert.ok(a.length + b.length > 100, `${a.length} and ${b.length}`);
  assert.ok(a.length + b.length < 600);
});

Deno.test("the torn end of a log takes the last transactions with it, and nothing else", async () => {
  using scratch = new Scratch();
  using copy = new Scratch();
  await using first = await scratch.open();
  for (const n of range(1, 50)) await first.append([publish(n)], to("a"));
  crashed(scratch, copy);
  const wal = `${copy.path}-wal`;
  Deno.truncateSync(wal, Deno.statSync(wal).size - 3_000);
  overwrite(wal, Deno.statSync(wal).size - 10_000, new Uint8Array(100).fill(0xff));
  await using spool = await copy.open();
  await assertSums(spool);
  const texts = await drain(spool, "a");
  assert.ok(texts.length > 30 && texts.length < 50, `${texts.length}`);
  assert.deepEqual(texts, range(1, texts.length));
  assert.equal(spool.highestAtOpen, texts.length);
});

Deno.test("a log that is gone is missed; one that was written back is not", async () => {
  using scratch = new Scratch();
  using copy = new Scratch();
  {
    await using first = await scratch.open();
    for (const n of range(1, 50)) await first.append([publish(n)], to("a"));
    crashed(scratch, copy);
  }
  Deno.removeSync(`${copy.path}-wal`);
  {
    await using spool = await copy.open();
    assert.match(spool.notes[0], /was not closed, and its log .* is gone: .*latest messages are lost/);
    await assertSums(spool);
    await spool.append([publish(1)], to("a"));
    assert.equal((await drain(spool, "a")).at(-1), "1");
  }
  for (const it of [copy, scratch]) {
    await using spool = await it.open();
    assert.deepEqual(spool.notes, []);
  }
});

Deno.test("a crash right after opening leaves nothing to complain about", async () => {
  using scratch = new Scratch();
  await filled(scratch);
  using copy = new Scratch();
  {
    await using first = await scratch.open();
    crashed(scratch, copy);
    assert.deepEqual(first.notes, []);
  }
  await using spool = await copy.open();
  assert.deepEqual(spool.notes, []);
  assert.equal((await waiting(spool)).a.length, 300);
});

Deno.test("a spool that is deleted while in use takes nothing more", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open();
  await spool.append([publish(1)], to("a"));
  Deno.removeSync(scratch.path);
  await assert.rejects(
    spool.append([publish(2)], to("a")),
    (error: Error) => error instanceof GiveUpError && /was removed or replaced/.test(error.message),
  );
});

Deno.test("of a spool that is deleted while in use, what cannot be read is named", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open();
  await spool.append([publish(1)], to("a"));
  await spool.append([publish(2)], to("a"));
  {
    using db = new DatabaseSync(scratch.path);
    db.exec("UPDATE queue_1 SET crc = crc + 1 WHERE first = 1");
  }
  Deno.removeSync(scratch.path);
  await assert.rejects(
    spool.append([publish(3)], to("a")),
    /what was in it was put back; not readable: the frame at 1 of a \(its checksum is wrong\)/,
  );
});

Deno.test("an old copy is what it was, and says up to where it had given out", async () => {
  using scratch = new Scratch();
  using old = new Scratch();
  let identity: string;
  {
    await using spool = await scratch.open();
    identity = spool.identity;
    for (const n of range(1, 5)) await spool.append([publish(n)], to("a"));
  }
  Deno.copyFileSync(scratch.path, old.path);
  {
    await using spool = await scratch.open();
    for (const n of range(6, 9)) await spool.append([publish(n)], to("a"));
    await drain(spool, "a");
  }
  Deno.copyFileSync(old.path, scratch.path);
  await using spool = await scratch.open();
  assert.equal(spool.identity, identity);
  assert.equal(spool.highestAtOpen, 5);
  // The database's ledger says 9: the gateway finds that, and asks for this.
  assert.notEqual(await spool.renew("a", 5), identity);
  assert.equal(await nextBatch(spool, "a"), null);
  await spool.append([publish(10)], to("a"));
  const batch = (await nextBatch(spool, "a"))!;
  assert.deepEqual([batch.after, batch.last], [0, 6]);
});

Deno.test("a reader that blocks the checkpoint holds up nothing, and the log shrinks after it", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open();
  await spool.append([publish(0)], to("a"));
  const log = () => Deno.statSync(`${scratch.path}-wal`).size;
  const payload = new Uint8Array(200_000);
  const fill = async (count: number) => {
    for (let n = 0; n < count; n++) await spool.append([publish(1, { payload })], to("a"));
  };
  {
    using reader = new DatabaseSync(scratch.path);
    reader.exec("BEGIN");
    reader.prepare("SELECT * FROM meta").all();
    await fill(100);
    assert.ok(log() > 20_000_000, `${log()}`);
    assert.equal((await drain(spool, "a")).length, 101);
    reader.exec("COMMIT");
  }
  await fill(30);
  assert.ok(log() <= 17_000_000, `${log()}`);
  await assertSums(spool);
});

Deno.test("whoever has the file to himself while it is opened is waited for", async () => {
  using scratch = new Scratch();
  await filled(scratch);
  const script = `
    import { DatabaseSync } from "node:sqlite";
    const db = new DatabaseSync(Deno.args[0]);
    db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    console.log("locked");
    setTimeout(() => db.close(), 500);
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--ext=js", "-", scratch.path],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  await input.write(new TextEncoder().encode(script));
  await input.close();
  const output = child.stdout.getReader();
  assert.match(new TextDecoder().decode((await output.read()).value), /locked/);
  await using spool = await scratch.open();
  assert.equal((await waiting(spool)).a.length, 300);
  await output.cancel();
  assert.ok((await child.status).success);
});

Deno.test("a second gateway is kept away from a spool that is in use, and may have it afterwards", async () => {
  using scratch = new Scratch();
  {
    await using spool = await scratch.open();
    await assert.rejects(scratch.open(), /is in use by another gateway/);
    await spool.append([publish(1)], to("a"));
  }
  await using spool = await scratch.open();
  const batch = (await nextBatch(spool, "a"))!;
  await spool.settle(batch, stored(batch));
});
