/**
 * Two gateways that share a subscription and a database: each message is one row, whoever takes it, also when one of them
 * is killed and what the broker had for it waits until it is back (SPEC section 7).
 */
import assert from "node:assert/strict";
import { startMariadb } from "../servers/mariadb.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Sluice } from "./sluice.ts";

const COUNT = 400;

testWith(["mosquitto", "mariadb"], "gateways that share a subscription store each message once", async () => {
  await using broker = await startMosquitto();
  await using database = await startMariadb();
  const start = (name: string) =>
    Sluice.start({
      config: {
        name,
        broker: { url: broker.url },
        database: { url: database.url() },
        routes: [
          { topic: "$share/gateways/Home/{room}/n", table: "n", columns: { room: "{room}", n: "$" } },
          { topic: "Home/{room}/all", table: "all_of_both", columns: { room: "{room}", n: "$" } },
        ],
      },
    });
  await using one = await start("one");
  await using other = await start("other");
  for (const it of [one, other]) await it.until("a subscription", ({ broker }) => broker.connected);
  const send = async (kind: string, from: number) => {
    const numbers = Array.from({ length: COUNT }, (_, i) => from + i);
    await publish(broker.url, numbers.map((n) => ({ topic: `Home/hall/${kind}`, payload: `${n}`, qos: 1 })));
  };
  const found = async (table: string) => {
    const rows = await database.admin(`SELECT n FROM home.${table} ORDER BY CAST(n AS signed)`);
    return rows.map((it) => Number(it.n));
  };
  const until = async (count: number) => {
    await waitFor(async () => (await found("n").catch(() => [])).length >= count, {
      what: `${count} rows`,
      timeoutMs: 60_000,
    });
    assert.deepEqual(await found("n"), Array.from({ length: count }, (_, i) => i));
  };
  await send("n", 0);
  await until(COUNT);
  for (const it of [one, other]) assert.ok((await it.status()).totals.stored > 0, "one of them did nothing");
  await other.kill("SIGKILL");
  await send("n", COUNT);
  await other.start();
  await until(2 * COUNT);
  // What is not shared each of them has for itself.
  await send("all", 0);
  await waitFor(async () => (await found("all_of_both").catch(() => [])).length >= 2 * COUNT, {
    what: "what is not shared, twice",
  });
});
