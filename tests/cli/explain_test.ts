/**
 * `sluice explain` as a user tries a route before it is used: what becomes of a message, or which word of the
 * configuration is why nothing does.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { startEmbeddedBroker } from "../../src/demo/broker.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { Program, sluice, withFolder } from "./program.ts";
import { assertShown } from "./shown.ts";

const CONFIG = `// a home
{
  "broker": { "url": "mqtt://127.0.0.1" },
  "database": { "url": "mysql://sluice@127.0.0.1/home" },
  "routes": [
    {
      "topic": "Home/{room}/climate",
      "table": "climate_{room}",
      "decode": "json",
      "columns": {
        "received_at": "@received",
        "room": "{room}",
        "temperature": { "value": "$.temperature", "type": "double" },
        "feels": "= temperature - 1.0"
      },
      "when": "temperature > -40.0",
      "keep": { "deadband": { "temperature": 0.5 }, "minInterval": "10s" },
      "retained": "skip",
      "onDuplicateKey": "update"
    },
    {
      "topic": "meter/{id}",
      "table": "meters",
      "each": "$.readings",
      "when": "value > 10",
      "columns": { "id": "{id}", "key": "@key", "value": { "value": "$.value", "type": "int" } }
    },
    { "preset": "zigbee2mqtt", "table": "zigbee" },
    { "topic": "Home/#", "table": "messages" }
  ]
}
`;

interface Explanation {
  readonly topic: string;
  readonly route: string | null;
  readonly rows: { table: string; columns: Record<string, unknown> }[];
  readonly sql: string | null;
  readonly values: unknown[];
  readonly reason: string | null;
}

async function explained(file: string, ...args: string[]): Promise<{ code: number; all: Explanation[] }> {
  const { code, out } = await sluice(["explain", "--json", "-c", file, ...args]);
  return { code, all: out.trimEnd().split("\n").map((line) => JSON.parse(line)) };
}

Deno.test("a message is shown with its route, its row, its SQL and its values", async () => {
  await withFolder(CONFIG, async (file, dir) => {
    const { code, out } = await sluice(["explain", "-c", file, "Home/attic/climate", `{"temperature":21.5}`]);
    assert.equal(code, 0);
    await assertShown("explain", out, dir);
    const { all } = await explained(file, "Home/attic/climate", `{"temperature":21.5}`);
    const now = all[0].values[0];
    assert.match(String(now), /^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$/);
    assert.deepEqual(all[0], {
      topic: "Home/attic/climate",
      route: "Home/{room}/climate -> climate_{room}",
      rows: [{
        table: "climate_attic",
        columns: { received_at: now, room: "attic", temperature: 21.5, feels: 20.5 },
      }],
      sql: "INSERT INTO `climate_attic` (`received_at`,`room`,`temperature`,`feels`) VALUES (?,?,?,?)" +
        " ON DUPLICATE KEY UPDATE `received_at`=VALUES(`received_at`),`room`=VALUES(`room`)," +
        "`temperature`=VALUES(`temperature`),`feels`=VALUES(`feels`)",
      values: [now, "attic", 21.5, 20.5],
      reason: null,
    });
  });
});

Deno.test("what is not stored is shown with the word of the configuration that is why", async () => {
  const cases: Record<string, string[]> = {
    unrouted: ["garage/door", "open"],
    when: ["Home/attic/climate", `{"temperature":-50}`],
    missing: ["Home/attic/climate", `{"humidity":50}`],
    retained: ["--retained", "Home/attic/climate", `{"temperature":20}`],
    not_json: ["Home/attic/climate", "21.5 °C"],
    not_a_number: ["Home/attic/climate", `{"temperature":"warm"}`],
    wrong_column: ["meter/1", `{"readings":[{"value":12.5}]}`],
    each: ["meter/1", `{"readings":[]}`],
    when_of_each: ["meter/1", `{"readings":[{"value":1},{"value":2}]}`],
    preset: ["zigbee2mqtt/bridge/state", `{"state":"online"}`],
  };
  await withFolder(CONFIG, async (file, dir) => {
    const texts: string[] = [];
    for (const [name, args] of Object.entries(cases)) {
      const { code, out } = await sluice(["explain", "-c", file, ...args]);
      assert.equal(code, 1, `${name}: ${out}`);
      texts.push(`## ${name}\n${out}`);
    }
    await assertShown("explain_not_stored", texts.join("\n"), dir);
  });
});

Deno.test("many messages are explained one after another, as the gateway would see them", async () => {
  await withFolder(CONFIG, async (file, dir) => {
    const at = (second: number) => `2026-01-31T12:00:${String(second).padStart(2, "0")}.000Z`;
    const climate = (temperature: number, second: number) =>
      JSON.stringify({ topic: "Home/attic/climate", payload: { temperature }, received_at: at(second) });
    const lines = [
      climate(20, 0),
      climate(25, 5),
      climate(20.1, 15),
      climate(20.6, 20),
      "",
      "{",
      `{"topic":"a"}`,
      `{"payload":"a"}`,
      `["a"]`,
      `{"topic":"a/b","payload_base64":"%"}`,
      `{"topic":"a/b","payload":"","received_at":"noon"}`,
      `{"topic":"meter/7","payload_base64":"${btoa(`{"readings":[{"value":11},{"value":12}]}`)}"}`,
      JSON.stringify({ topic: "Home/attic/climate", payload: `{"temperature":99}`, retain: true }),
    ];
    await Deno.writeTextFile(`${dir}/messages.jsonl`, lines.join("\n"));
    const { code, out, err } = await sluice([
      "explain",
      "--json",
      "-c",
      file,
      "--file",
      `${dir}/messages.jsonl`,
    ]);
    assert.equal(code, 1, "some lines are no messages");
    await assertShown("explain_file_errors", err, dir);
    const all: Explanation[] = out.trimEnd().split("\n").map((line) => JSON.parse(line));
    const first = all.filter((it) => it.route === "Home/{room}/climate -> climate_{room}");
    assert.deepEqual(first.map((it) => it.reason), [
      null,
      `"keep" leaves it out: no change of temperature (by 0.5), or less than 10 s since the last row that was kept`,
      `"keep" leaves it out: no change of temperature (by 0.5), or less than 10 s since the last row that was kept`,
      null,
      `"retained": "skip" leaves out retained messages`,
    ]);
    const meters = all.find((it) => it.topic === "meter/7")!;
    assert.deepEqual(meters.values, ["7", "0", 11, "7", "1", 12]);
    assert.equal(meters.sql!.match(/\?/g)!.length, meters.values.length);
  });
});

Deno.test("wrong usage of explain is said, and what is no file", async () => {
  await withFolder(CONFIG, async (file, dir) => {
    const cases: [string[], RegExp][] = [
      [["-c", file, "Home/#", "x"], /"Home\/#" is no topic that a message can have/],
      [["-c", file, "--file", `${dir}/none`], /--file: \S+none cannot be read: there is no such file/],
      [["-c", file, "--file", dir], /cannot be read: it is a folder/],
      [["-c", file, "--file", dir, "a", "b"], /takes a message or --file, not both/],
    ];
    for (const [args, expected] of cases) {
      const { code, err } = await sluice(["explain", ...args]);
      assert.equal(code, 2, err);
      assert.match(err, expected);
    }
  });
});

Deno.test("what explain lists instead of presets is a configuration that means the same", async () => {
  const config = JSON.parse(CONFIG.replace(/^\/\/.*$/m, ""));
  config.routes[0].keep.maxInterval = "125m";
  await withFolder(config, async (file, dir) => {
    const listed = await sluice(["explain", "-c", file]);
    assert.match(listed.out, /^\/\/ zigbee2mqtt: /m);
    const routes = listed.out.replace(/^\/\/.*$/gm, "").split(/\n(?=\{)/).filter((it) => it.trim()).join(",");
    const again = `${dir}/again.json`;
    await Deno.writeTextFile(
      again,
      JSON.stringify({ ...config, routes: "HERE" }).replace(`"HERE"`, `[${routes}]`),
    );
    const messages = ["Home/attic/climate", "zigbee2mqtt/lamp", "meter/1"].map((topic) =>
      JSON.stringify({
        topic,
        payload: { temperature: 1, state: "ON", readings: [{ value: 11 }] },
        received_at: 0,
      })
    );
    await Deno.writeTextFile(`${dir}/messages.jsonl`, messages.join("\n"));
    const both = await Promise.all(
      [file, again].map((it) => sluice(["explain", "--json", "-c", it, "--file", `${dir}/messages.jsonl`])),
    );
    assert.equal(both[1].code, 0, both[1].err);
    assert.equal(both[1].out, both[0].out.replaceAll('"route":"zigbee2mqtt: ', '"route":"'));
    const json = await sluice(["explain", "--json", "-c", again]);
    assert.match(json.out, /"maxInterval":"125m"/);
  });
});

Deno.test("a terminal is done no harm by topics and payloads", async () => {
  await withFolder(CONFIG, async (file) => {
    const { out } = await sluice([
      "explain",
      "-c",
      file,
      "Home/\x1b[2J\x07/climate",
      `{"temperature":1,"x":"\x1b]0;a"}`,
    ]);
    assert.doesNotMatch(out.replaceAll("\n", ""), /\p{Cc}/u);
    assert.match(out, /\\x1b\[2J/);
  });
});

eachDatabase((flavour, start) => {
  testWith(["mosquitto", flavour], `the SQL that explain shows is the SQL that ${flavour} gets`, async () => {
    await using broker = await startMosquitto();
    await using database = await start({ args: ["--general-log=1", "--log-output=TABLE"] });
    const config = {
      broker: { url: broker.url },
      database: { url: database.url() },
      status: false,
      routes: [
        { topic: "a/{x}", table: "plain", columns: { x: "{x}", value: { value: "$", type: "double" } } },
        {
          topic: "b/{x}",
          table: "now",
          layout: "latest",
          columns: { topic: "@topic", v: { value: "$", type: "int" } },
        },
        {
          topic: "c/{x}",
          table: "once",
          key: ["x"],
          onDuplicateKey: "ignore",
          columns: { x: { value: "{x}", type: "varchar(20)" } },
        },
      ],
    };
    await withFolder(config, async (file) => {
      const shown: string[] = [];
      for (const topic of ["a/1", "b/1", "c/1"]) shown.push((await explained(file, topic, "1")).all[0].sql!);
      await using gateway = new Program(["run", "-c", file]);
      await gateway.until("the rows", async () => {
        await publish(broker.url, ["a/1", "b/1", "c/1"].map((topic) => ({ topic, payload: "1" })));
        const [{ n }] = await database.admin(
          "SELECT (SELECT COUNT(*) FROM home.plain) > 0 AND (SELECT COUNT(*) FROM home.now) AND (SELECT COUNT(*) FROM home.once) AS n",
        );
        return Number(n);
      });
      gateway.kill("SIGTERM");
      await gateway.ended();
      const rows = await database.admin(
        "SELECT DISTINCT CONVERT(argument USING utf8mb4) AS sql_text FROM mysql.general_log WHERE command_type = 'Prepare'",
      );
      const sent = new Set(rows.map((it) => withoutKinds(it.sql_text)));
      for (const sql of shown) assert.ok(sent.has(sql), `${sql}\nis none of\n${[...sent].join("\n")}`);
    });
  });
});

/** Without what is only there for MySQL's sake: the kinds of the values. */
const withoutKinds = (sql: string) => sql.replace(/ \/\* \w+ \*\/$/, "").replace(/CAST\(\? AS \w+\)/g, "?");

Deno.test("with the embedded database, explain shows SQLite's SQL, and it is one that SQLite takes", async () => {
  await using broker = await startEmbeddedBroker();
  const config = {
    broker: { url: broker.url, version: 4 },
    database: { url: "sqlite:home.db" },
    routes: [{ topic: "b/{x}", table: "now", layout: "latest", columns: { topic: "@topic", v: "$" } }],
  };
  await withFolder(config, async (file) => {
    const { all: [it] } = await explained(file, "b/1", "2");
    assert.equal(
      it.sql,
      `INSERT INTO "now" ("topic","v") VALUES (?,?) ON CONFLICT ("topic") DO UPDATE SET "topic"=excluded."topic","v"=excluded."v"`,
    );
    using db = new DatabaseSync(":memory:");
    db.exec(`CREATE TABLE now (topic TEXT PRIMARY KEY, v REAL)`);
    for (let i = 0; i < 2; i++) db.prepare(it.sql!).run(...it.values as (string | number)[]);
    assert.deepEqual({ ...db.prepare("SELECT count(*) AS n, max(v) AS v FROM now").get() }, { n: 1, v: 2 });
  });
});
