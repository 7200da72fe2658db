/**
 * 29 of the fault catalogue: the configuration changes while messages come, by SIGHUP and by a restart.
 */
import assert from "node:assert/strict";
import { START, testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene } from "./scene.ts";
import { all, packets } from "./wire.ts";

const GARDEN = { topic: "Garden/#", table: "garden", decode: "text", columns: { text: "$" } };

const count = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].length;
const LOADED = /the configuration was loaded again/g;
const REFUSED = /the configuration was not loaded again/g;

/** Writes the file, sends SIGHUP, and waits until the gateway has said what came of it. */
async function reload(
  { sluice }: Scene,
  config: Record<string, unknown> | string,
  says: RegExp,
): Promise<void> {
  const before = count(sluice.output, says);
  if (typeof config === "string") await Deno.writeTextFile(sluice.configFile, config);
  else await sluice.configure(config);
  await sluice.kill("SIGHUP");
  await waitFor(() => count(sluice.output, says) > before, { what: `${says} in:\n${sluice.output}` });
}

for (const version of [5, 4] as const) {
  for (const how of ["SIGHUP", "restart"] as const) {
    testWith(
      ["mosquitto"],
      `29: a filter that is removed is unsubscribed, by ${how}, MQTT ${version}`,
      async () => {
        await using scene = await Scene.start({ version });
        const { sluice } = scene;
        const routes = scene.config.routes as unknown[];
        await reload(scene, { ...scene.config, routes: [...routes, GARDEN] }, LOADED);
        await publish(scene.broker.url, [{ topic: "Garden/a", payload: "1" }]);
        await sluice.until("Garden/a to be stored", ({ totals }) => totals.stored === 1);
        if (how === "SIGHUP") await reload(scene, scene.config, LOADED);
        else {
          await sluice.configure(scene.config);
          await sluice.stop();
          await sluice.start();
        }
        const unsubscribed = () => all(packets(scene.proxy, version), "unsubscribe");
        await waitFor(() => all(packets(scene.proxy, version), "unsuback").length > 0, { what: "UNSUBACK" });
        assert.deepEqual(unsubscribed().map((it) => it.unsubscriptions), [["Garden/#"]]);
        await publish(scene.broker.url, [{ topic: "Garden/a", payload: "2" }]);
        await scene.publish(1);
        const { totals } = await scene.settle();
        assert.deepEqual([totals.received, totals.unrouted], [2, 0]);
      },
    );
  }
}

const BAD:
  readonly (readonly [string, (good: Record<string, unknown>) => Record<string, unknown> | string])[] = [
    ["that is no JSON", () => "{ routes: [ }"],
    ["without a database", ({ database: _, ...rest }) => rest],
    ["with a broker URL that is none", (good) => ({ ...good, broker: { url: "127.0.0.1" } })],
    ["with a broker URL of another protocol", (good) => ({ ...good, broker: { url: "http://127.0.0.1" } })],
    [
      "with a route that cannot be",
      (good) => ({ ...good, routes: [{ topic: "a/#/b", table: "x", decode: "json" }] }),
    ],
    ["with a database certificate that is not there", (good) => ({
      ...good,
      database: { url: "mysql://a@127.0.0.1/b", tls: { ca: "/no/such/file" } },
    })],
    ["with a database URL that is none", (good) => ({ ...good, database: { url: "postgres://a/b" } })],
  ];

testWith(
  ["mosquitto"],
  "29: a bad new file changes nothing and says so, and the next good one is taken",
  async (t) => {
    await using scene = await Scene.start();
    const stream = await scene.stream({ qos: 2 });
    for (const [what, change] of BAD) {
      await t.step(`a file ${what}`, async () => {
        await reload(scene, change(scene.config), REFUSED);
        const { totals } = await scene.sluice.status();
        await scene.sluice.until("more to be stored", (it) => it.totals.stored > totals.stored + 50);
        assert.equal(scene.proxy.accepted, 1, "the broker's connection was given up");
      });
    }
    await reload(scene, scene.config, LOADED);
    await stream.stop();
    await scene.settle();
  },
);

testWith(
  ["mosquitto"],
  "29: reloads under load lose and double nothing, whatever they change",
  async () => {
    await using scene = await Scene.start();
    const { sluice } = scene;
    const streams = [await scene.stream({ qos: 1 }), await scene.stream({ qos: 2 })];
    const routes = scene.config.routes as unknown[];
    for (let round = 0; round < 6; round++) {
      const keepalive = `${5 + round}s`;
      // Now the routes change, now the connection, now the database.
      await reload(
        scene,
        [
          { ...scene.config, routes: [...routes, GARDEN] },
          { ...scene.config, broker: { ...scene.config.broker as object, keepalive } },
          { ...scene.config, database: { url: "sqlite:home.db", addColumns: true } },
        ][round % 3],
        LOADED,
      );
    }
    for (const stream of streams) await stream.stop();
    await scene.settle();
    assert.equal(await sluice.stop(), 0, sluice.output);
  },
);

testWith(
  ["mosquitto", "mariadb"],
  "29: SIGHUP again and again while the database is frozen, and SIGTERM in the middle of it, break nothing",
  async () => {
    await using server = await START.mariadb();
    const schema = await server.createDatabase();
    await using scene = await Scene.start({ database: { server, url: server.url(schema), schema } });
    const { sluice } = scene;
    const streams = [await scene.stream({ qos: 1 }), await scene.stream({ qos: 2 })];
    await sluice.until("100 to be stored", ({ totals }) => totals.stored >= 100);
    for (const ending of ["thaw", "SIGTERM"]) {
      await server.kill("SIGSTOP");
      // The loops end only with the batch in hand, so these come while the first is still at work.
      for (let i = 0; i < 5; i++) {
        await sluice.kill("SIGHUP");
        await sluice.status();
      }
      if (ending === "SIGTERM") {
        assert.equal(await sluice.stop(), 0, sluice.output);
        await sluice.start();
      }
      await server.kill("SIGCONT");
      const { totals } = await sluice.status();
      await sluice.until("more to be stored", (it) => it.totals.stored > totals.stored + 100);
    }
    for (const stream of streams) await stream.stop();
    await scene.settle();
    assert.equal(await sluice.stop(), 0, sluice.output);
  },
);

testWith(["mosquitto"], "29: a new password is a change, although it is not printed", async () => {
  const config = { broker: { username: "sluice", password: "one" } };
  await using scene = await Scene.start({ mosquitto: { users: { sluice: "one" } }, config });
  const { sluice, proxy } = scene;
  const broker = scene.config.broker as Record<string, unknown>;
  await reload(scene, { ...scene.config, broker: { ...broker, password: "two" } }, LOADED);
  await sluice.until("the broker to refuse", (it) => !it.broker.connected);
  await reload(scene, scene.config, LOADED);
  await sluice.until("the broker to be connected", (it) => it.broker.connected);
  assert.equal(proxy.accepted, 3);
});
