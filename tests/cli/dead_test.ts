/**
 * `sluice dead` and `sluice spool` as a user runs them, beside a gateway and without one.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { checkSums, Sluice } from "../e2e/sluice.ts";
import { freePort } from "../servers/free_port.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { type OutgoingMessage, publish } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { type Ended, sluice, withFolder } from "./program.ts";

const CLIMATE = "Home/{room}/climate -> climate";

/** Every message goes to `raw` too: that row must never be doubled by a replay. */
function configOf(url: string, climate: Record<string, unknown> = {}) {
  return {
    broker: { url, clientId: "dead-test" },
    database: { url: "sqlite:home.db" },
    routes: [
      {
        topic: "Home/{room}/climate",
        table: "climate",
        decode: "json",
        columns: { room: "{room}", payload: "@payload" },
        ...climate,
      },
      { topic: "Home/#", table: "raw", decode: "bytes", columns: { topic: "@topic" } },
    ],
  };
}

const TEXT = { decode: "text" };
const BROKEN = `{"temperature": 21`;

const message = (room: string, payload: string | Uint8Array = BROKEN): OutgoingMessage => ({
  topic: `Home/${room}/climate`,
  payload,
});

/** A gateway that has met these messages. */
async function gatewayWith(url: string, messages: readonly OutgoingMessage[]): Promise<Sluice> {
  const gateway = await Sluice.start({ config: configOf(url) });
  await gateway.until("a subscription", (it) => it.broker.connected);
  await publish(url, messages);
  await settled(gateway, messages.length);
  return gateway;
}

const settled = (gateway: Sluice, received: number) =>
  gateway.until(
    "everything to be settled",
    ({ totals }) => totals.received === received && totals.pending === 0,
  );

function rows(gateway: Sluice, table: string): number {
  using db = new DatabaseSync(`${gateway.dir}/home.db`, { readOnly: true });
  return (db.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n;
}

const command = (gateway: Sluice, ...args: string[]): Promise<Ended> =>
  sluice([...args, "-c", gateway.configFile]);

function good({ code, out, err }: Ended): string {
  assert.equal(code, 0, err + out);
  return out;
}

async function letters(gateway: Sluice, ...args: string[]) {
  const out = good(await command(gateway, "dead", "list", "--json", ...args));
  return out.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

async function reload(gateway: Sluice, config: Record<string, unknown>): Promise<void> {
  await gateway.configure(config);
  const before = gateway.output.split("loaded again").length;
  await gateway.kill("SIGHUP");
  await waitFor(() => gateway.output.split("loaded again").length > before, { what: "the reload" });
}

testWith(["mosquitto"], "a dead letter is listed and shown while the gateway runs", async () => {
  await using broker = await startMosquitto();
  const bytes = new Uint8Array([0x7b, 0xff, 0x00]);
  await using gateway = await gatewayWith(broker.url, [message("attic"), message("cellar", bytes)]);
  const [first, second] = await letters(gateway);
  assert.match(first.received_at, /^20\d\d-\d\d-\d\dT[\d:.]+Z$/);
  assert.match(first.reason, /JSON/);
  const { received_at: _at, reason: _reason, ...rest } = first;
  assert.deepEqual(rest, {
    id: first.id,
    topic: "Home/attic/climate",
    payload: BROKEN,
    qos: 1,
    route: CLIMATE,
    table: "climate",
    errno: null,
  });
  assert.equal("payload" in second, false);
  assert.deepEqual(Uint8Array.fromBase64(second.payload_base64), bytes);
  assert.deepEqual(
    (await letters(gateway, "--topic", "Home/{room}/climate", "--table", "climate")).length,
    2,
  );
  assert.deepEqual((await letters(gateway, "--topic", "Home/cellar/+")).map((it) => it.id), [second.id]);
  assert.deepEqual(await letters(gateway, "--table", "raw"), []);
  const page = good(await command(gateway, "dead", "show", `${first.id}`));
  assert.match(page, /topic {4}Home\/attic\/climate/);
  assert.ok(page.includes(BROKEN), page);
  const people = await command(gateway, "dead", "list");
  assert.equal(people.out.trimEnd().split("\n").length, 2);
  assert.match(people.err, /2 dead letters/);
});

testWith(["mosquitto"], "replay beside the gateway goes through the mended route, once", async () => {
  await using broker = await startMosquitto();
  await using gateway = await gatewayWith(broker.url, [message("attic"), message("cellar"), message("hall")]);
  const [first] = await letters(gateway);

  // Not mended yet: it dies again, as a new letter, and nothing is stored.
  assert.match(good(await command(gateway, "dead", "replay", `${first.id}`)), /^1 dead letter replayed/);
  await gateway.until("it to die again", ({ totals }) => totals.dead === 3 && totals.pending === 0);
  const again = await letters(gateway);
  assert.equal(again.length, 3);
  assert.ok(again.every((it) => it.id !== first.id));

  await reload(gateway, configOf(broker.url, TEXT));
  const answer = good(await command(gateway, "dead", "replay", "--all", "--json"));
  assert.deepEqual(JSON.parse(answer), { replayed: 3, kept: [] });
  const status = await gateway.until("the rows", ({ totals }) => totals.pending === 0 && totals.stored === 6);
  checkSums(status);
  assert.equal(status.totals.dead, 0);
  assert.equal(rows(gateway, "climate"), 3);
  assert.equal(rows(gateway, "raw"), 3, "the route that had stored the message must not see it again");

  assert.match(good(await command(gateway, "dead", "replay", "--all")), /^0 dead letters replayed/);
  const gone = await command(gateway, "dead", "replay", `${first.id}`);
  assert.equal(gone.code, 1);
  assert.match(gone.err, new RegExp(`there is no dead letter ${first.id}`));
  assert.equal(rows(gateway, "climate"), 3);
  assert.equal(await gateway.stop(), 0);
});

testWith(["mosquitto"], "replay and drop without a gateway do the same, and lose nothing", async () => {
  await using broker = await startMosquitto();
  await using gateway = await gatewayWith(broker.url, [message("attic"), message("cellar"), message("hall")]);
  await gateway.stop();
  await gateway.configure(configOf(broker.url, TEXT));
  assert.match(
    good(await command(gateway, "dead", "drop", "--topic", "Home/cellar/climate")),
    /^1 dead letter dropped/,
  );
  assert.match(
    good(await command(gateway, "dead", "replay", "--table", "climate")),
    /^2 dead letters replayed/,
  );
  assert.deepEqual(await letters(gateway), []);
  assert.match(good(await command(gateway, "dead", "replay", "--all")), /^0 dead/);

  const lines = good(await command(gateway, "spool", "export")).trimEnd().split("\n").map((it) =>
    JSON.parse(it)
  );
  assert.deepEqual(lines.map((it) => it.topic), ["Home/attic/climate", "Home/hall/climate"]);
  assert.equal(rows(gateway, "raw"), 3);
  await gateway.start();
  const status = await settled(gateway, 3);
  checkSums(status);
  assert.deepEqual([status.totals.dead, status.totals.stored], [1, 5]);
  assert.equal(rows(gateway, "climate"), 2);
  assert.equal(rows(gateway, "raw"), 3);
});

testWith(["mosquitto"], "drop beside the gateway forgets the letter and keeps the count", async () => {
  await using broker = await startMosquitto();
  await using gateway = await gatewayWith(broker.url, [message("attic"), message("cellar")]);
  const [first, second] = await letters(gateway);
  assert.match(good(await command(gateway, "dead", "drop", `${first.id}`)), /^1 dead letter dropped/);
  assert.deepEqual((await letters(gateway)).map((it) => it.id), [second.id]);
  assert.match(good(await command(gateway, "dead", "drop", "--all")), /^1 dead letter dropped/);
  const status = await gateway.status();
  checkSums(status);
  assert.equal(status.totals.dead, 2);
  assert.deepEqual(await letters(gateway), []);
});

testWith(["mosquitto"], "a letter without a way stays dead, and --to gives it one", async () => {
  await using broker = await startMosquitto();
  await using gateway = await gatewayWith(broker.url, [message("attic")]);
  const [letter] = await letters(gateway);

  await reload(gateway, { ...configOf(broker.url), routes: [{ topic: "Garden/#", table: "garden" }] });
  const nowhere = await command(gateway, "dead", "replay", "--all");
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.err, new RegExp(`letter ${letter.id} stays: no route takes its topic`));

  // `raw` has stored the message already, `measured` has not: only its owner knows which of them is its heir.
  await reload(gateway, configOf(broker.url, { table: "measured", ...TEXT }));
  const gone = await command(gateway, "dead", "replay", "--all", "--json");
  assert.equal(gone.code, 1);
  assert.match(JSON.parse(gone.out).kept[0].reason, /is gone, .*--to TABLE \(measured, raw\)/);
  assert.equal((await letters(gateway)).length, 1);
  good(await command(gateway, "dead", "replay", "--all", "--to", "measured"));
  checkSums(await gateway.until("the row", ({ totals }) => totals.stored === 2));
  assert.equal(rows(gateway, "measured"), 1);
  assert.equal(rows(gateway, "raw"), 1);
});

testWith(["mosquitto"], "a route to the same table that is younger than the letter is its heir", async () => {
  await using broker = await startMosquitto();
  await using gateway = await gatewayWith(broker.url, [message("attic")]);
  await reload(
    gateway,
    configOf(broker.url, { topic: "Home/{place}/climate", columns: { room: "{place}" }, ...TEXT }),
  );
  await publish(broker.url, [message("hall")]);
  await gateway.until("the new route at work", ({ totals }) => totals.received === 2 && totals.pending === 0);
  good(await command(gateway, "dead", "replay", "--all"));
  checkSums(await gateway.until("the row", ({ totals }) => totals.stored === 4));
  assert.equal(rows(gateway, "climate"), 2);
});

Deno.test("dead says what it needs, and what is not there", async () => {
  const config = configOf(`mqtt://127.0.0.1:${freePort()}`);
  await withFolder(config, async (file) => {
    const cases: [string[], number, RegExp][] = [
      [["dead"], 2, /usage: sluice dead list\|show\|replay\|drop/],
      [["dead", "lsit", "-c", file], 2, /there are list, show, replay, drop/],
      [["dead", "list"], 2, /-c FILE/],
      [["dead", "replay", "-c", file], 2, /needs ids, --table, --topic or --all/],
      [["dead", "drop", "-c", file, "7", "--all"], 2, /not both/],
      [["dead", "drop", "-c", file, "seven"], 2, /"seven" is no id/],
      [["dead", "drop", "-c", file, "--all", "--to", "x"], 2, /--to goes with dead replay/],
      [["dead", "list", "-c", file, "--topic", "a/#/b"], 2, /--topic: .*must be its last level/],
      [["dead", "list", "-c", file], 1, /there is no spool at .*spool\.db/],
      [["dead", "replay", "--all", "-c", file], 1, /there is no spool at/],
      [["spool", "-c", file], 2, /usage: sluice spool status\|export/],
      [["spool", "stauts", "-c", file], 2, /status and export/],
      [["spool", "status", "-c", file], 1, /there is no spool at/],
    ];
    for (const [args, code, expected] of cases) {
      const ended = await sluice(args);
      assert.equal(ended.code, code, `${args}: ${ended.err}`);
      assert.match(ended.err, expected);
      assert.equal(ended.out, "");
    }
  });
});
