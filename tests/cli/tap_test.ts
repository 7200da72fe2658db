/**
 * `sluice tap` as a user runs it, beside a real broker.
 */
import assert from "node:assert/strict";
import { freePort } from "../servers/free_port.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { openPublisher, publish } from "../servers/publisher.ts";
import { Program, sluice, withFolder } from "./program.ts";

const ROUTE = {
  topic: "Home/{room}/climate",
  table: "climate",
  decode: "json",
  columns: { room: "{room}", temperature: { value: "$.temperature", type: "double" } },
};

const configFor = (url: string, broker: Record<string, unknown> = {}) => ({
  broker: { url, ...broker },
  database: { url: "sqlite:home.db" },
  routes: [ROUTE],
});

testWith(
  ["mosquitto"],
  "tap prints rows and reasons as explain does, and Ctrl-C ends it cleanly",
  async () => {
    await using broker = await startMosquitto();
    await withFolder(configFor(broker.url), async (file) => {
      await using tap = new Program(["tap", "--json", "-c", file]);
      await tap.until("tap to listen", ({ err }) => /listening to .*Home\/\+\/climate.* on mqtt:/.test(err));
      await publish(broker.url, [
        { topic: "Home/attic/climate", payload: `{"temperature":21.5}` },
        { topic: "Home/cellar/climate", payload: "no JSON" },
      ]);
      await tap.until("two lines", ({ out }) => out.split("\n").length === 3);
      tap.kill("SIGINT");
      const { code, out, err } = await tap.ended();
      assert.equal(code, 0, err);
      const [good, bad] = out.trimEnd().split("\n").map((line) => JSON.parse(line));
      assert.deepEqual(good, {
        topic: "Home/attic/climate",
        route: "Home/{room}/climate -> climate",
        rows: [{ table: "climate", columns: { room: "attic", temperature: 21.5 } }],
        sql: `INSERT INTO "climate" ("room","temperature") VALUES (?,?)`,
        values: ["attic", 21.5],
        reason: null,
      });
      assert.deepEqual([bad.topic, bad.rows, bad.sql], ["Home/cellar/climate", [], null]);
      assert.match(bad.reason, /JSON/);
      assert.match(err, /heard 2 messages, 1 of them make no row/);
    });
  },
);

testWith(["mosquitto"], "--topic listens to something else, and --for ends by itself", async () => {
  await using broker = await startMosquitto();
  await publish(broker.url, [{ topic: "garage/door", payload: "open", retain: true }]);
  await withFolder(configFor(broker.url), async (file) => {
    const { code, out, err } = await sluice(["tap", "-c", file, "--topic", "garage/#", "--for", "2s"]);
    assert.equal(code, 0, err);
    assert.match(out, /^topic {2}garage\/door\nnot stored: no route matches this topic/);
  });
});

/** Sessions that the broker keeps for clients that are gone, counted after what has happened so far. */
async function sessionsAsleep(file: string): Promise<number> {
  await using tap = new Program(["tap", "-c", file, "--json", "--topic", "$SYS/broker/#"]);
  const valuesOf = (topic: string) =>
    tap.out.split("\n").slice(0, -1).map((line) => JSON.parse(line)).filter((it) => it.topic === topic)
      .map((it) => it.rows[0].columns.payload);
  // The retained picture, then one that the broker has counted anew.
  await tap.until("the broker to count", () => valuesOf("$SYS/broker/uptime").length > 2);
  return Number(valuesOf("$SYS/broker/clients/disconnected").at(-1));
}

for (const version of [4, 5]) {
  testWith(
    ["mosquitto"],
    `tap leaves the gateway's session alone and none of its own behind, MQTT ${version}`,
    async () => {
      await using broker = await startMosquitto({ config: ["sys_interval 1"] });
      const config = configFor(broker.url, { version, clientId: "gateway" });
      // A session of the gateway's name, asleep on the broker.
      await (await openPublisher(broker.url, { clientId: "gateway" })).close();
      await withFolder(config, async (file) => {
        await using tap = new Program(["tap", "-c", file]);
        await tap.until("tap to listen", ({ err }) => /listening/.test(err));
        tap.kill("SIGINT");
        assert.equal((await tap.ended()).code, 0);
        assert.equal(
          broker.log(1_000).match(/ as gateway /g)?.length,
          1,
          "only the publisher came as gateway",
        );
        assert.match(
          broker.log(1_000),
          new RegExp(` as sluice-listen-\\w+ \\(p${version === 4 ? 2 : 5}, c1, `),
        );
        await Deno.writeTextFile(
          file,
          JSON.stringify({ ...config, routes: [{ topic: "$SYS/broker/#", table: "broker" }] }),
        );
        assert.equal(await sessionsAsleep(file), 1);
      });
    },
  );
}

testWith(
  ["mosquitto"],
  "tap says when the connection breaks and goes on when the broker is back",
  async () => {
    await using broker = await startMosquitto();
    await withFolder(configFor(broker.url), async (file) => {
      await using tap = new Program(["tap", "--json", "-c", file]);
      await tap.until("tap to listen", ({ err }) => /listening/.test(err));
      await broker.restart();
      await tap.until("tap to come back", ({ err }) => /trying again[^]*connected again/.test(err));
      await tap.until("a message", async ({ out }) => {
        await publish(broker.url, [{ topic: "Home/attic/climate", payload: `{"temperature":1}` }]);
        return out !== "";
      });
      tap.kill("SIGTERM");
      assert.equal((await tap.ended()).code, 0);
    });
  },
);

testWith(["mosquitto"], "whoever reads along may go: tap ends cleanly", async () => {
  await using broker = await startMosquitto();
  await withFolder(configFor(broker.url), async (file) => {
    await using tap = new Program(["tap", "--json", "-c", file]);
    await tap.until("tap to listen", ({ err }) => /listening/.test(err));
    tap.stopReading();
    await publish(broker.url, [{ topic: "Home/attic/climate", payload: `{"temperature":1}` }]);
    const { code, err } = await tap.ended();
    assert.equal(code, 0, err);
    assert.doesNotMatch(err, /error/);
  });
});

Deno.test("tap says what is missing, wrong or out of reach, each with its exit code", async () => {
  await withFolder(configFor(`mqtt://127.0.0.1:${freePort()}`), async (file) => {
    const cases: [string[], number, RegExp][] = [
      [[], 2, /-c FILE/],
      [["-c", file, "--for", "soon"], 2, /--for: "soon" is not a duration/],
      [["-c", file, "--topic", "a#"], 2, /--topic: .*\n.*help:/],
      [["-c", `${file}.missing`], 78, /no such file/],
      [["-c", file], 69, /cannot be reached/],
    ];
    for (const [args, expected, message] of cases) {
      const { code, out, err } = await sluice(["tap", ...args]);
      assert.equal(code, expected, err);
      assert.match(err, message);
      assert.equal(out, "");
    }
  });
});
