/**
 * What a person sees when services come, go and come back: the program against real servers, without looking inside.
 */
import assert from "node:assert/strict";
import type { Database, Flavour } from "../servers/database.ts";
import { freePort } from "../servers/free_port.ts";
import { type Mosquitto, startMosquitto } from "../servers/mosquitto.ts";
import { eachDatabase, START, type StartDatabase, testWith } from "../servers/needs.ts";
import { openPublisher, publish, type Publisher } from "../servers/publisher.ts";
import { checkSums, Sluice } from "./sluice.ts";

const climate = (n: number) => ({
  topic: `Home/room${n % 5}/climate`,
  payload: JSON.stringify({ n, temperature: 20.5 }),
});
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => climate(from + i));

/** One table with a number for each message, whose column `note` takes four characters. */
const ROUTES = [{
  topic: "Home/{room}/climate",
  table: "climate",
  decode: "json",
  columns: {
    ts: "@received",
    room: "{room}",
    n: { value: "$.n", type: "bigint" },
    temperature: { value: "$.temperature", type: "double" },
    note: "$.note",
  },
}];

const TABLE =
  "CREATE TABLE climate (id bigint AUTO_INCREMENT PRIMARY KEY, ts datetime(3), room varchar(40), n bigint, " +
  "temperature double, note varchar(4))";

async function prepareTable(database: Database): Promise<string> {
  const name = await database.createDatabase();
  await database.admin(`CREATE TABLE ${name}.${TABLE.slice("CREATE TABLE ".length)}`);
  return name;
}

async function numbers(database: Database, name: string): Promise<number[]> {
  const rows = await database.admin(`SELECT n FROM ${name}.climate ORDER BY n`);
  return rows.map((row) => Number(row.n));
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

/** Publishes numbers from 0 until stopped; every one of them is accepted, once. */
function stream(publisher: Publisher): { stop: () => Promise<number> } {
  let running = true;
  let n = 0;
  const done = (async () => {
    while (running) {
      await Promise.all(range(n, n += 10).map(({ topic, payload }) => publisher.publish(topic, payload)));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return n;
  })();
  return { stop: () => (running = false, done) };
}

testWith(
  ["mosquitto", "mariadb"],
  "it starts with neither broker nor database there and stores what comes when they come",
  async () => {
    const [brokerPort, databasePort] = [freePort(), freePort()];
    await using sluice = await Sluice.start({
      config: {
        broker: { url: `mqtt://127.0.0.1:${brokerPort}` },
        database: { url: `mysql://sluice:secret@127.0.0.1:${databasePort}/home` },
      },
    });
    const status = await sluice.status();
    assert.equal(status.broker.connected, false);
    assert.equal(status.database.reachable, false);
    assert.equal((await fetch(`${sluice.statusUrl}/readyz`).then(drop)).status, 503);
    await using broker = await startMosquitto({ port: brokerPort });
    await sluice.until("the broker to be connected", (it) => it.broker.connected);
    assert.equal((await publish(broker.url, range(0, 100))).length, 100);
    await sluice.until("100 messages to wait", ({ totals }) => totals.pending === 100);
    await using database = await START.mariadb({ port: databasePort });
    checkSums(await sluice.until("100 messages to be stored", ({ totals }) => totals.stored === 100));
    assert.equal((await database.admin("SELECT count(*) AS n FROM home.messages"))[0].n, 100);
    assert.equal((await fetch(`${sluice.statusUrl}/readyz`).then(drop)).status, 200);
  },
);

async function drop(response: Response): Promise<Response> {
  await response.body?.cancel();
  return response;
}

/** One test for each flavour. */
function killedDatabase(flavour: Flavour, start: StartDatabase): void {
  const needs = ["mosquitto", flavour] as const;
  testWith(needs, `${flavour} may be killed and started again in the middle of everything`, async () => {
    await using broker = await startMosquitto();
    await using database = await start();
    const name = await prepareTable(database);
    await using sluice = await Sluice.start({ config: config(broker, database, name) });
    await sluice.until("the broker to be connected", (it) => it.broker.connected);
    await using publisher = await openPublisher(broker.url, { qos: 2 });
    const publishing = stream(publisher);
    for (let round = 0; round < 3; round++) {
      const { totals } = await sluice.status();
      await sluice.until("more to be stored", (it) => it.totals.stored > totals.stored + 50);
      await database.kill();
      await sluice.until("the outage to be seen", (it) => !it.database.reachable);
      await database.restart();
    }
    const count = await publishing.stop();
    checkSums(await sluice.until("everything to be stored", ({ totals }) => totals.stored === count));
    assert.deepEqual(await numbers(database, name), upTo(count));
    const lines = sluice.output.split("\n").filter((line) => /database/i.test(line));
    assert.ok(
      lines.length <= 3 * 4,
      `an outage is told in a few lines, not in ${lines.length}:\n${lines.join("\n")}`,
    );
  });
}

/** One test for each flavour. */
function badMessages(flavour: Flavour, start: StartDatabase): void {
  const needs = ["mosquitto", flavour] as const;
  testWith(
    needs,
    `a bad payload and a row that ${flavour} refuses become dead letters, their neighbours are stored`,
    async () => {
      await using broker = await startMosquitto();
      await using database = await start();
      const name = await prepareTable(database);
      await using sluice = await Sluice.start({ config: config(broker, database, name) });
      await sluice.until("the broker to be connected", (it) => it.broker.connected);
      const bad = [
        { topic: "Home/attic/climate", payload: '{"n": 3, "temperature":' },
        { topic: "Home/attic/climate", payload: '{"n": 4, "temperature": 20, "note": "much too long"}' },
      ];
      await publish(broker.url, [...range(0, 50), ...bad, ...range(50, 100)]);
      const status = await sluice.until(
        "102 to be done",
        ({ totals }) => totals.stored + totals.dead === 102,
      );
      checkSums(status);
      assert.equal(status.totals.dead, 2);
      assert.deepEqual(await numbers(database, name), upTo(100));
    },
  );
}

/** One test for each flavour. */
function sigterm(flavour: Flavour, start: StartDatabase): void {
  const needs = ["mosquitto", flavour] as const;
  testWith(
    needs,
    `SIGTERM under load ends the program cleanly, and ${flavour} has everything after the next start`,
    async () => {
      await using broker = await startMosquitto();
      await using database = await start();
      const name = await prepareTable(database);
      await using sluice = await Sluice.start({ config: config(broker, database, name) });
      await sluice.until("the broker to be connected", (it) => it.broker.connected);
      await using publisher = await openPublisher(broker.url);
      const publishing = stream(publisher);
      for (let round = 0; round < 2; round++) {
        const { totals } = await sluice.status();
        await sluice.until("more to be stored", (it) => it.totals.stored > totals.stored + 100);
        assert.equal(await sluice.stop(), 0, sluice.output);
        await sluice.start();
      }
      const count = await publishing.stop();
      checkSums(await sluice.until("everything to be stored", ({ totals }) => totals.stored === count));
      assert.deepEqual(await numbers(database, name), upTo(count));
    },
  );
}

/** One test for each flavour. */
function kill9(flavour: Flavour, start: StartDatabase): void {
  const needs = ["mosquitto", flavour] as const;
  testWith(needs, `kill -9 of the program loses and doubles nothing in ${flavour}`, async () => {
    await using broker = await startMosquitto();
    await using database = await start();
    const name = await prepareTable(database);
    await using sluice = await Sluice.start({ config: config(broker, database, name) });
    await sluice.until("the broker to be connected", (it) => it.broker.connected);
    await using one = await openPublisher(broker.url, { qos: 1 });
    const publishing = stream(one);
    for (let round = 0; round < 5; round++) {
      const { totals } = await sluice.status();
      await sluice.until("more to be stored", (it) => it.totals.stored > totals.stored + 100);
      await sluice.kill("SIGKILL");
      await sluice.start();
    }
    const count = await publishing.stop();
    checkSums(await sluice.until("everything to be stored", ({ totals }) => totals.stored === count));
    assert.deepEqual(await numbers(database, name), upTo(count));
  });
}

eachDatabase((flavour, start) => {
  killedDatabase(flavour, start);
  badMessages(flavour, start);
  sigterm(flavour, start);
  kill9(flavour, start);
});

testWith(["mosquitto", "mariadb"], "the broker may be stopped and started again", async () => {
  await using broker = await startMosquitto({ persistence: true });
  await using database = await START.mariadb();
  const name = await prepareTable(database);
  await using sluice = await Sluice.start({ config: config(broker, database, name) });
  await sluice.until("the broker to be connected", (it) => it.broker.connected);
  await publish(broker.url, range(0, 100));
  await broker.restart();
  await sluice.until("the broker to be connected again", (it) => it.broker.connected);
  await publish(broker.url, range(100, 200));
  checkSums(await sluice.until("200 to be stored", ({ totals }) => totals.stored === 200));
  assert.deepEqual(await numbers(database, name), upTo(200));
});

function config(broker: Mosquitto, database: Database, name: string): Record<string, unknown> {
  return { broker: { url: broker.url }, database: { url: database.url(name) }, routes: ROUTES };
}
