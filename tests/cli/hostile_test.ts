/**
 * What means harm, from the first listening to the row: discovered, explained, checked and stored beside good messages,
 * in real databases.
 */
import assert from "node:assert/strict";
import { hostileMessages } from "../hostile.ts";
import { freePort } from "../servers/free_port.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { Program, sluice, withFolder } from "./program.ts";

/** mosquitto takes no control characters in topics. */
const isTopic = (topic: string) => !/\p{Cc}/u.test(topic);

eachDatabase((flavour, start) => {
  testWith(
    ["mosquitto", flavour],
    `hostile messages are discovered, explained and stored beside good ones in ${flavour}, and do no harm`,
    async () => {
      await using broker = await startMosquitto();
      await using database = await start();
      await database.admin("CREATE TABLE home.messages (id int PRIMARY KEY, note varchar(10))");
      await database.admin("INSERT INTO home.messages VALUES (1, 'still here')");
      const hostile = hostileMessages("Home").filter(({ topic }) => isTopic(topic));
      await publish(broker.url, hostile.map((it) => ({ ...it, qos: 1, retain: true })));
      const config = {
        broker: { url: broker.url },
        database: { url: database.url() },
        status: { listen: `127.0.0.1:${freePort()}` },
        routes: [],
      };
      await withFolder(config, async (file, dir) => {
        const discovered = await sluice(["discover", "--write", "--for", "4s", "-c", file]);
        assert.equal(discovered.code, 0, discovered.err);
        const checked = await sluice(["check", "-c", file]);
        assert.equal(checked.code, 0, checked.out);

        const lines = hostile.map(({ topic, payload }) =>
          JSON.stringify({ topic, payload_base64: payload.toBase64() })
        );
        await Deno.writeTextFile(`${dir}/messages.jsonl`, lines.join("\n"));
        const explained = await sluice(["explain", "--json", "-c", file, "--file", `${dir}/messages.jsonl`]);
        assert.equal(explained.code, 0, explained.err);
        const explanations = explained.out.trimEnd().split("\n").map((line) => JSON.parse(line));
        const topics = new Set(explanations.map((it) => it.topic));
        for (const { topic } of hostile) assert.ok(topics.has(topic), topic);

        await using gateway = new Program(["run", "-c", file]);
        const totals = async () => JSON.parse((await sluice(["status", "--json", "-c", file])).out).totals;
        await gateway.until("all to be stored or told", async () => {
          const { received, pending } = await totals();
          return received >= hostile.length - 1 && pending === 0;
        });
        const good = explanations.find((it) => it.rows.length > 0)!;
        const stored = (await totals()).stored;
        await publish(broker.url, [{ topic: good.topic, payload: "{}", qos: 1 }]);
        await gateway.until("a good message to be stored after all that", async () => {
          const { received, pending } = await totals();
          return received > hostile.length - 1 && pending === 0;
        });
        assert.ok(stored > 30, `${stored} stored`);
        const sums = await totals();
        assert.equal(sums.received, sums.duplicate + sums.unrouted + sums.routed);
        assert.equal(sums.deliveries, sums.stored + sums.filtered + sums.dead + sums.dropped + sums.pending);
        gateway.kill("SIGTERM");
        assert.equal((await gateway.ended()).code, 0);
      });
      const kept = await database.admin("SELECT note FROM home.messages");
      assert.deepEqual(kept.map((it) => it.note), ["still here"]);
      const [{ spools }] = await database.admin(
        "SELECT COUNT(DISTINCT spool) AS spools FROM home.sluice_ledger",
      );
      assert.equal(Number(spools), 1, "nobody but the gateway has written to its table");
    },
  );
});
