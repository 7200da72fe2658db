/**
 * `sluice discover` as a user runs it, beside a real broker; what it writes is then run for real.
 */
import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/load.ts";
import { withRoutes } from "../../src/cli/add_routes.ts";
import { freePort } from "../servers/free_port.ts";
import { startMariadb } from "../servers/mariadb.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { type OutgoingMessage, publish } from "../servers/publisher.ts";
import { Program, sluice, testOnTerminal, withFolder } from "./program.ts";
import { assertShown } from "./shown.ts";

const retained = (topic: string, payload: unknown): OutgoingMessage => ({
  topic,
  payload: typeof payload === "string" ? payload : JSON.stringify(payload),
  retain: true,
});

const HOME = [
  retained("Home/kitchen/climate", { temperature: 21.5, humidity: 40, at: "2026-01-01T10:00:00Z" }),
  retained("Home/attic/climate", {
    temperature: 19,
    humidity: 55.5,
    battery: 97,
    at: "2026-01-01T10:00:01Z",
  }),
  retained("tele/pow1/SENSOR", { Time: "2026-01-01T10:00:00", ENERGY: { Power: 2635 } }),
  retained("shellyplus1-a8032abe54dc/status/switch:0", { id: 0, output: true, apower: 12.5 }),
  retained("homeassistant/sensor/kitchen_t/config", {
    state_topic: "Home/kitchen/climate",
    value_template: "{{ value_json.temperature }}",
    unit_of_measurement: "°C",
  }),
];

/** A configuration as people write it: comments wherever they can stand, and a trailing comma. */
const commented = (broker: string, database: string) =>
  `// my gateway
{
  "broker": { "url": "${broker}" }, /* in the cellar */
  "database": { "url": "${database}" },
  "status": false,
  "routes": [
    // the garage came first
    { "topic": "garage/door", "table": "door" }, // a text
    // { "topic": "old/#", "table": "old" }
  ], // routes end here
  // nothing below
}
`;

testWith(["mosquitto"], "discover proposes routes with types, units, tables and sample rows", async () => {
  await using broker = await startMosquitto();
  await publish(broker.url, [...HOME, retained("garage/door", "open")]);
  await withFolder(commented(broker.url, "sqlite:home.db"), async (file) => {
    const before = await Deno.readTextFile(file);
    const json = await sluice(["discover", "--json", "--for", "2s", "-c", file]);
    assert.equal(json.code, 0, json.err);
    const all = json.out.trimEnd().split("\n").map((line) => JSON.parse(line));
    const climate = all.find((it) => it.route.table === "climate");
    assert.deepEqual(climate.topics.toSorted(), ["Home/attic/climate", "Home/kitchen/climate"]);
    assert.equal(climate.route.topic, "Home/{device}/climate");
    assert.deepEqual(climate.route.columns.temperature, {
      value: "$.temperature",
      type: "double",
      unit: "°C",
    });
    assert.deepEqual(climate.columns.slice(0, 3), [
      { name: "received_at", type: "DATETIME(3)", unit: null, value: "@received" },
      { name: "device", type: "VARCHAR(255)", unit: null, value: "{device}" },
      { name: "temperature", type: "DOUBLE", unit: "°C", value: "$.temperature" },
    ]);
    assert.match(climate.sql, /^CREATE TABLE IF NOT EXISTS `climate` \([^]*`humidity` DOUBLE NULL[^]*;$/);
    assert.equal(climate.sample.reason, null);
    assert.ok(["kitchen", "attic"].includes(climate.sample.rows[0].columns.device));
    assert.ok(all.some((it) => /^Tasmota/.test(it.kind)) && all.some((it) => /^Shelly/.test(it.kind)));
    assert.ok(!all.some((it) => it.topics.includes("garage/door")), "a route takes it already");
    assert.ok(!all.some((it) => /config$/.test(it.topics[0])), "announcements are no readings");
    assert.match(json.err, /3 new routes\n.*take 1 topic already/);
    assert.ok(!json.err.includes("\x1b"), "no progress where there is no terminal");

    const words = await sluice(["discover", "--topic", "Home/+/climate", "--for", "2s", "-c", file]);
    assert.equal(words.code, 0, words.err);
    assert.match(words.out, /^# Home\/\{device\}\/climate -> climate\nJSON objects; 2 topics, 2 messages/);
    assert.match(words.out, / {2}temperature {2}DOUBLE {8}°C {4}\$\.temperature\n/);
    assert.match(words.out, /CREATE TABLE IF NOT EXISTS `climate`/);
    assert.match(words.out, /row of Home\/\w+\/climate\n/);
    assert.equal(words.out.match(/^# /gm)!.length, 1);
    assert.equal(await Deno.readTextFile(file), before, "without --write the file is not touched");
  });
});

testWith(
  ["mosquitto", "mariadb"],
  "what discover writes keeps every comment and stores every row",
  async () => {
    await using broker = await startMosquitto();
    await using database = await startMariadb();
    await publish(broker.url, HOME);
    await withFolder(commented(broker.url, database.url()), async (file, dir) => {
      await Deno.chmod(file, 0o640);
      await Deno.symlink(file, `${dir}/link.json`);
      const written = await sluice(["discover", "--write", "--for", "2s", "-c", `${dir}/link.json`]);
      assert.equal(written.code, 0, written.err);
      assert.match(written.err, /3 routes added/);
      const text = await Deno.readTextFile(file);
      for (const comment of commented("", "").match(/\/\/ .*|\/\*.*\*\//g)!) {
        assert.ok(text.includes(comment), text);
      }
      assert.match(text, /"door" \}, \/\/ a text\n/);
      assert.equal((await Deno.stat(file)).mode! & 0o777, 0o640);
      assert.ok((await Deno.lstat(`${dir}/link.json`)).isSymlink);
      assert.deepEqual(
        [...Deno.readDirSync(dir)].map(({ name }) => name).sort(),
        ["link.json", "sluice.json"],
      );
      assert.equal((await sluice(["check", "-c", file])).code, 0);

      const again = await sluice(["discover", "--write", "--for", "1s", "-c", file]);
      assert.equal(again.code, 0, again.err);
      assert.match(again.err, /nothing new to propose/);
      assert.equal(await Deno.readTextFile(file), text);

      await using gateway = new Program(["run", "-c", file]);
      await gateway.until("the rows", async () => {
        const [{ n }] = await database.admin("SELECT COUNT(*) AS n FROM home.climate");
        const [{ power }] = await database.admin(
          "SELECT MAX(value) AS power FROM home.tasmota WHERE name = 'ENERGY.Power'",
        );
        return Number(n) === 2 && power === 2635;
      });
      const rows = await database.admin("SELECT device, temperature, at FROM home.climate ORDER BY device");
      assert.deepEqual(rows.map((row) => ({ ...row })), [
        { device: "attic", temperature: 19, at: "2026-01-01 10:00:01.000" },
        { device: "kitchen", temperature: 21.5, at: "2026-01-01 10:00:00.000" },
      ]);
      gateway.kill("SIGTERM");
      assert.equal((await gateway.ended()).code, 0);
    });
  },
);

testOnTerminal(
  ["mosquitto"],
  "Ctrl-C ends the listening, not the answer; on a terminal it shows progress",
  async () => {
    await using broker = await startMosquitto();
    await publish(broker.url, HOME);
    await withFolder({ broker: { url: broker.url }, database: { url: "sqlite:a.db" } }, async (file) => {
      await using program = new Program(["discover", "--for", "1h", "-c", file], { terminal: true });
      await program.until("progress", ({ out }) => /4 messages on 4 topics, \d+ (min|h) left/.test(out));
      await program.type("\x03");
      const { code, out } = await program.ended();
      assert.equal(code, 0, out);
      assert.match(out, /# Home\/\{device\}\/climate -> climate/);
    });
  },
);

testWith(["mosquitto"], "without routes of one's own, discover says what --write changes", async () => {
  await using broker = await startMosquitto();
  await publish(broker.url, HOME);
  const config = `{"broker":{"url":"${broker.url}"},"database":{"url":"sqlite:a.db"}}`;
  await withFolder(config, async (file) => {
    const args = ["discover", "--write", "--topic", "Home/#", "--for", "2s", "-c", file];
    const { code, err } = await sluice(args);
    assert.equal(code, 0, err);
    assert.match(err, /without "routes" everything under Home\/# went to the table messages/);
    const { config: now } = parseConfig(await Deno.readTextFile(file), file);
    assert.deepEqual(now.routes.map(({ topic }) => topic), ["Home/{device}/climate"]);
  });
});

testWith(["mosquitto"], "a message that two of the new routes would take is said", async () => {
  await using broker = await startMosquitto();
  await publish(broker.url, [
    retained("Home/a", { temperature: 1, humidity: 2 }),
    retained("Home/b", { temperature: 3, humidity: 4 }),
    retained("Home/c", { power: 5, energy: 6 }),
  ]);
  await withFolder({ broker: { url: broker.url }, database: { url: "sqlite:a.db" } }, async (file) => {
    const { code, err } = await sluice(["discover", "--json", "--for", "2s", "-c", file]);
    assert.equal(code, 0, err);
    assert.match(err, /note: Home\/\{device\} also takes Home\/c, which has a route of its own/);
  });
});

Deno.test("discover says what is missing, wrong, silent or out of reach, each with its exit code", async () => {
  const config = { broker: { url: `mqtt://127.0.0.1:${freePort()}` }, database: { url: "sqlite:a.db" } };
  await withFolder(config, async (file) => {
    const cases: [string[], number, RegExp][] = [
      [[], 2, /-c FILE/],
      [["-c", file, "--for", "1"], 2, /--for: "1" is not a duration/],
      [["-c", `${file}.missing`], 78, /no such file/],
      [["-c", file], 69, /cannot be reached/],
    ];
    for (const [args, expected, message] of cases) {
      const { code, err } = await sluice(["discover", ...args]);
      assert.equal(code, expected, err);
      assert.match(err, message);
    }
  });
});

testWith(["mosquitto"], "what Home Assistant announces is listened to, wherever it is", async () => {
  await using broker = await startMosquitto();
  await publish(broker.url, [
    retained("homeassistant/device/boiler/config", {
      dev: { ids: "boiler" },
      "~": "heating/boiler",
      stat_t: "~/state",
      cmps: {
        flow: { p: "sensor", unit_of_meas: "°C", val_tpl: "{{ value_json.flow }}" },
        asleep: { p: "sensor", stat_t: "~/asleep" },
      },
    }),
    retained("heating/boiler/state", { flow: 55.5 }),
    retained("heating/other/state", { flow: 1 }),
  ]);
  await withFolder({ broker: { url: broker.url }, database: { url: "sqlite:a.db" } }, async (file, dir) => {
    const { code, out, err } = await sluice(["discover", "--for", "3s", "-c", file]);
    assert.equal(code, 0, err);
    await assertShown("discover", out, dir);
    await assertShown("discover_talk", err, dir);
    assert.doesNotMatch(out, /heating\/other/, "nobody has announced it, and nobody listens to it");
  });
});

testWith(["mosquitto"], "silence is a failure with a way out", async () => {
  await using broker = await startMosquitto();
  await withFolder({ broker: { url: broker.url }, database: { url: "sqlite:a.db" } }, async (file) => {
    const { code, err } = await sluice(["discover", "--for", "500ms", "-c", file]);
    assert.equal(code, 1);
    assert.match(err, /nothing was heard.*\n.*--topic '#'/);
  });
});

Deno.test("routes find their place in every layout of a file", () => {
  const rest = `"broker":{"url":"mqtt://a"},"database":{"url":"sqlite:a"}`;
  const route = { topic: "a/{b}", table: "t", columns: { b: "{b}" } };
  const sources = [
    `{${rest}}`,
    `{${rest},}`,
    `{${rest} // end\n}`,
    `{${rest},"routes":[]}`,
    `{${rest},"routes":[ /* none */ ]}`,
    `{${rest},"routes":[\n // none, yet\n]}`,
    `{${rest},"routes":[{"topic":"x","table":"y"}]}`,
    `{${rest},"routes":[{"topic":"x","table":"y"},]}`,
    `{\r\n\t${rest},\r\n\t"routes": [\r\n\t\t{"topic":"x","table":"y"} // no comma, here\r\n\t]\r\n}\r\n`,
    `{"routes":[{"topic":"x","table":"y"} /* , */ , // ]\n],${rest}}`,
  ];
  for (const source of sources) {
    const text = withRoutes(source, [route, { ...route, table: "u" }]);
    const { config } = parseConfig(text, "/a.json");
    const tables = config.routes.map(({ table }) => table);
    assert.deepEqual(tables.slice(-2), ["t", "u"], text);
    assert.equal(tables.length, /"x"/.test(source) ? 3 : 2, text);
    for (const comment of source.match(/(?<!:)\/\/.*|\/\*.*?\*\//g) ?? []) {
      assert.ok(text.includes(comment), text);
    }
    if (source.includes("\r\n")) assert.doesNotMatch(text, /[^\r]\n/);
  }
});

Deno.test("a draft that would be wrong is refused, and nothing is left beside the file", async () => {
  const { addRoutes } = await import("../../src/cli/add_routes.ts");
  const config = { broker: { url: "mqtt://a" }, database: { url: "sqlite:a.db" } };
  await withFolder(config, async (file, dir) => {
    const before = await Deno.readTextFile(file);
    await assert.rejects(
      addRoutes(file, [{ topic: "a/#/b", table: "t" }]),
      /not added, .* as it was: it would be wrong/,
    );
    assert.equal(await Deno.readTextFile(file), before);
    assert.equal([...Deno.readDirSync(dir)].length, 1);
  });
});
