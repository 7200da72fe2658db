/**
 * What a user sees who looks after a gateway: all well, one table missing, the database away; letters and what waits.
 */
import { freePort } from "../servers/free_port.ts";
import { startMariadb } from "../servers/mariadb.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { Program, sluice, withFolder } from "./program.ts";
import { assertShown } from "./shown.ts";

/** Numbers that differ from run to run. */
const RUNNING: readonly (readonly [RegExp, string])[] = [
  [/up \d+ m?s/g, "up 12 s"],
  [/[\d.]+ [KMG]?i?B of/g, "9.9 MiB of"],
  [/write-ahead log [\d.]+ [KMG]?i?B/g, "write-ahead log 99 KiB"],
  [/pool: \d+ idle, \d+ leased/g, "pool: 1 idle, 0 leased"],
];

const VALUE = { value: "$.value", type: "double" };

const ROUTES = [
  {
    topic: "Home/{room}/climate",
    table: "climate",
    decode: "json",
    columns: { room: "{room}", value: VALUE },
  },
  { topic: "Home/{room}/note", table: "notes", columns: { note: "$" } },
];

testWith(["mosquitto", "mariadb"], "status, dead letters and the spool, as texts", async () => {
  await using broker = await startMosquitto();
  await using database = await startMariadb();
  await database.admin("CREATE TABLE home.notes (note varchar(4) NOT NULL)");
  const port = freePort();
  const config = {
    name: "attic",
    broker: { url: broker.url },
    database: { url: database.url(), createTables: false },
    status: { listen: `127.0.0.1:${port}` },
    routes: ROUTES,
  };
  await withFolder(config, async (file, dir) => {
    const shown = async (args: string[], more: readonly (readonly [RegExp, string])[] = []) => {
      const { code, out, err } = await sluice([...args, "-c", file]);
      const name = args.join("_").replace(/\W+/g, "_");
      return await assertShown(name, `$ sluice ${args.join(" ")}\n${out}${err}exit code ${code}\n`, dir, [
        ...RUNNING,
        [new RegExp(`:${port}\\b`, "g"), ":8088"],
        ...more,
      ]);
    };
    await shown(["status"]);
    await shown(["dead", "list"]);
    await shown(["spool", "status"]);

    await using gateway = new Program(["run", "-c", file]);
    const totals = async () => JSON.parse((await sluice(["status", "--json", "-c", file])).out);
    await gateway.until("a subscription", async () => (await totals()).broker.connected);
    await publish(broker.url, [
      { topic: "Home/kitchen/note", payload: "good" },
      { topic: "Home/kitchen/note", payload: "far too long" },
      { topic: "Home/kitchen/climate", payload: `{"value":"warm"}` },
      { topic: "Home/kitchen/climate", payload: `{"value":21.5}` },
    ]);
    await gateway.until("the missing table to hold up its rows", async () => {
      const { lanes, totals: sums } = await totals();
      return lanes.climate?.state !== "ok" && sums.stored === 1 && sums.dead >= 1;
    });
    await assertShown(
      "status_table_missing",
      (await sluice(["status", "-c", file])).out,
      dir,
      [...RUNNING, [new RegExp(`:${port}\\b`, "g"), ":8088"]],
    );
    await database.admin("CREATE TABLE home.climate (room varchar(40), value double)");
    await gateway.until("the rows to go on", async () => (await totals()).totals.pending === 0);
    await assertShown("status_well", (await sluice(["status", "-c", file])).out, dir, RUNNING);
    const letters = await sluice(["dead", "list", "-c", file]);
    await assertShown("dead_letters", letters.out + letters.err, dir);
    await assertShown("dead_show", (await sluice(["dead", "show", "1", "2", "-c", file])).out, dir);
    await assertShown("spool_status_well", (await sluice(["spool", "status", "-c", file])).out, dir, RUNNING);
    const replayed = await sluice(["dead", "replay", "99", "-c", file]);
    await assertShown("dead_replay_unknown", replayed.out + replayed.err, dir);

    await database.stop();
    await publish(broker.url, [{ topic: "Home/kitchen/note", payload: "wait" }]);
    await gateway.until("the outage to be told", async () => {
      const { database, totals: sums } = await totals();
      return !database.reachable && sums.pending === 1;
    });
    await assertShown("status_database_away", (await sluice(["status", "-c", file])).out, dir, RUNNING);
    gateway.kill("SIGTERM");
    await gateway.ended();
  });
});

testWith(["mosquitto"], "tap, as a text", async () => {
  await using broker = await startMosquitto();
  const config = {
    broker: { url: broker.url },
    database: { url: "mysql://a@b/c" },
    routes: [{
      topic: "Home/{room}/climate",
      table: "climate",
      decode: "json",
      when: "value > 0.0",
      columns: { room: "{room}", value: VALUE },
    }],
  };
  await withFolder(JSON.stringify(config, null, 2), async (file, dir) => {
    await using tap = new Program(["tap", "-c", file, "--topic", "#"]);
    await tap.until("tap to listen", ({ err }) => /listening/.test(err));
    for (const payload of [`{"value":21.5}`, `{"value":-1}`, `{"value":"warm"}`]) {
      await publish(broker.url, [{ topic: "Home/attic/climate", payload }]);
    }
    await publish(broker.url, [{ topic: "garage/door", payload: "open" }]);
    await tap.until("four messages", ({ out }) => out.split("topic ").length === 5);
    tap.kill("SIGINT");
    const { out, err } = await tap.ended();
    await assertShown("tap", `${out}\n${err}`, dir);
  });
});
