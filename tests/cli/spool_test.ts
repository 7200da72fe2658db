/**
 * `sluice spool status` and `sluice spool export`, beside a gateway whose database is away, after its violent end, and
 * with the reader gone in the middle.
 */
import assert from "node:assert/strict";
import { checkSums, programArguments, Sluice } from "../e2e/sluice.ts";
import { freePort } from "../servers/free_port.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { sluice } from "./program.ts";

/** Nothing can be stored: the database is away. */
const configOf = (url: string) => ({
  broker: { url, clientId: "spool-test" },
  database: { url: `mysql://sluice:secret@127.0.0.1:${freePort()}/home` },
  routes: [{ topic: "Home/{room}/climate", table: "climate" }, { topic: "Home/#", table: "raw" }],
});

const BYTES = new Uint8Array([0xff, 0x00, 0x80]);

async function waitingGateway(url: string, count: number): Promise<Sluice> {
  const gateway = await Sluice.start({ config: configOf(url) });
  await gateway.until("a subscription", (it) => it.broker.connected);
  await publish(url, [
    ...Array.from({ length: count - 1 }, (_, i) => ({ topic: "Home/attic/climate", payload: `${i} ä"\n` })),
    { topic: "Home/attic/light", payload: BYTES },
  ]);
  await gateway.until("the messages to be spooled", ({ totals }) => totals.received === count);
  return gateway;
}

testWith(
  ["mosquitto"],
  "status and export show what waits, while the gateway runs and after kill -9",
  async () => {
    await using broker = await startMosquitto();
    await using gateway = await waitingGateway(broker.url, 5);
    const look = async () => {
      const status = await sluice(["spool", "status", "--json", "-c", gateway.configFile]);
      const out = await sluice(["spool", "export", "-c", gateway.configFile]);
      assert.deepEqual([status.code, status.err, out.code, out.err], [0, "", 0, ""]);
      const lines = out.out.trimEnd().split("\n").map((line) => JSON.parse(line));
      return { status: JSON.parse(status.out), lines };
    };
    const running = await look();
    checkSums(await gateway.status());
    await gateway.kill("SIGKILL");
    const killed = await look();
    assert.deepEqual(killed.lines, running.lines);
    const { lines, status } = running;
    assert.equal(status.path, `${gateway.dir}/spool.db`);
    assert.match(status.identity, /^[0-9a-f-]{36}$/);
    assert.deepEqual([status.entries, status.dead_letters, status.max_bytes], [9, 0, 2 ** 30]);
    assert.deepEqual([status.lanes.climate.entries, status.lanes.raw.entries], [4, 5]);
    assert.equal(status.oldest, lines.map((it) => it.received_at).sort()[0]);
    assert.ok(status.bytes > 0 && status.wal_bytes > 0, JSON.stringify(status));
    assert.equal(killed.status.entries, 9);

    const climate = lines.filter((it) => it.table === "climate");
    assert.deepEqual(climate.map((it) => it.payload), [0, 1, 2, 3].map((i) => `${i} ä"\n`));
    assert.deepEqual(new Set(lines.map((it) => it.sequence)).size, 9);
    const { sequence: _sequence, received_at: _at, ...last } = lines.at(-1);
    assert.deepEqual(last, {
      topic: "Home/attic/light",
      payload_base64: BYTES.toBase64(),
      qos: 1,
      retain: false,
      route: "Home/# -> raw",
      table: "raw",
    });
    const only = await sluice(["spool", "export", "--table", "climate", "-c", gateway.configFile]);
    assert.equal(only.out.trimEnd().split("\n").length, 4);
    const page = await sluice(["spool", "status", "-c", gateway.configFile]);
    assert.match(page.out, /waiting {3}9 messages, the oldest from 20/);
    assert.match(page.out, /dead {6}0 letters/);
  },
);

testWith(["mosquitto"], "what is exported is what is stored later, and reading changes nothing", async () => {
  await using broker = await startMosquitto();
  await using gateway = await waitingGateway(broker.url, 300);
  await gateway.stop();
  const before = await sluice(["spool", "export", "-c", gateway.configFile]);
  assert.equal(before.out.trimEnd().split("\n").length, 599);
  await gateway.start();
  const status = await gateway.status();
  checkSums(status);
  assert.equal(status.totals.pending, 599);
  assert.equal((await sluice(["spool", "export", "-c", gateway.configFile])).out, before.out);
});

testWith(["mosquitto"], "export ends quietly when nobody reads on", async () => {
  await using broker = await startMosquitto();
  await using gateway = await waitingGateway(broker.url, 1_500);
  const program = [Deno.execPath(), ...programArguments(), "spool", "export", "-c", gateway.configFile];
  const pipe = new Deno.Command("bash", {
    args: ["-c", 'set -o pipefail; "$@" | head -n 1', "bash", ...program],
    stdin: "null",
  });
  const { code, stdout, stderr } = await pipe.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.deepEqual([code, text(stderr)], [0, ""]);
  assert.equal(text(stdout).split("\n").length, 2);
});
