/**
 * Faults between broker and gateway that both survive: a log-in that is refused or never answered, a line that is slow
 * or breaks, another client with the same id. Rows 11, 17, 18, 22 and 23 of the fault catalogue.
 *
 * What is sent in place of MQTT (rows 20 and 21) is in `../mqtt/handshake_test.ts`, cables and names in `network_test.ts`.
 */
import assert from "node:assert/strict";
import { Sluice } from "../e2e/sluice.ts";
import { connack, publishPacket, startFakeBroker } from "../mqtt/fake_broker.ts";
import { testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene } from "./scene.ts";
import { type Random, seeded } from "./schedule.ts";
import { all, packets } from "./wire.ts";

const count = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].length;

/** Both have spools and tables of their own; what is under way when one is pushed out goes to the other one as well. */
async function twins(version: 4 | 5): Promise<void> {
  const clientId = "the only one";
  await using scene = await Scene.start({ version, config: { broker: { clientId, keepalive: "5s" } } });
  const { sluice } = scene;
  const stream = await scene.stream({ qos: 2 });
  await scene.flowing();
  // Their keepalives tell them apart on the wire.
  const { broker, ...rest } = scene.config;
  await using second = await Sluice.start({
    config: { ...rest, broker: { ...broker as object, keepalive: "6s" } },
  });
  const suspicion =
    /another client (may use|uses) the same client id: give every gateway its own broker\.clientId/;
  const told = () => [sluice, second].find(({ output }) => suspicion.test(output));
  const wary = await waitFor(told, { what: "the suspicion to be told", timeoutMs: 60_000 });
  const before = performance.now();
  const comes = () => logins(scene, wary === sluice ? 5 : 6);
  const known = comes();
  await waitFor(() => comes() > known, { what: "the one that knows to come again", timeoutMs: 90_000 });
  assert.ok(performance.now() - before > 4_000, "it came again at once");
  await stream.stop();
  assert.equal(await second.stop(), 0);
  await sluice.until("the first one to be alone", (it) => it.broker.connected, 90_000);
  const theirs = Scene.ids(`${second.dir}/home.db`);
  scene.excuse(new Set([...scene.sent].filter((id) => !theirs.has(id))));
  await scene.publish(20, { qos: 2 });
  await scene.settle();
  await scene.judgeWire(theirs.keys());
}

/** How often the gateway with this keepalive has logged in. */
function logins({ proxy, version }: Scene, keepalive: number): number {
  return all(packets(proxy, version), "connect").filter((it) => it.keepalive === keepalive).length;
}

async function slow(version: 4 | 5): Promise<void> {
  await using scene = await Scene.start({ version });
  scene.proxy.slice(1);
  scene.proxy.delay(500);
  scene.proxy.cut();
  for (const qos of [1, 2] as const) await scene.publish(25, { qos });
  await scene.settle();
  await scene.judgeWire();
}

async function shaky(version: 4 | 5, random: Random): Promise<void> {
  await using scene = await Scene.start({ version });
  const { proxy } = scene;
  // Resets fall between two slices.
  proxy.slice(333);
  const streams = await Promise.all(
    ([1, 2] as const).map((qos) => scene.stream({ qos, payloadBytes: 300, pauseMs: 40 })),
  );
  for (let reset = 0; reset < 10; reset++) {
    const { accepted } = proxy;
    let chunks = Math.floor(random() * 60);
    proxy.onData = () => chunks-- === 0 ? "cut" : "pass";
    await waitFor(() => proxy.accepted > accepted, { what: `connection ${accepted + 1}` });
  }
  proxy.onData = undefined;
  for (const stream of streams) await stream.stop();
  await scene.settle();
  await scene.judgeWire();
}

/** Side by side: most of the time they wait. */
const inBoth = async (fault: (version: 4 | 5) => Promise<void>) => {
  await Promise.all([fault(5), fault(4)]);
};

testWith(
  ["mosquitto"],
  "11: two gateways with one client id and spools of their own: told, they keep away from each other, nothing is lost",
  () => inBoth(twins),
);

testWith(
  ["mosquitto"],
  "22: bytes that come one by one and half a second late are the same messages",
  () => inBoth(slow),
);

testWith(
  ["mosquitto"],
  "23: resets at random moments under load, in the middle of packets: nothing lost or doubled",
  () => {
    const seed = Number(Deno.env.get("SLUICE_SEED") ?? Math.floor(Math.random() * 2 ** 31));
    console.log(`SLUICE_SEED=${seed}`);
    return inBoth((version) => shaky(version, seeded(seed + version)));
  },
);

for (const version of [5, 4] as const) {
  Deno.test(`18: a log-in that is refused in several ways is tried until it is accepted, and told, MQTT ${version}`, async () => {
    await using broker = await startFakeBroker();
    await using sluice = await Sluice.start({
      config: { broker: { url: broker.url, version }, database: { url: "sqlite:home.db" } },
    });
    await sluice.until("the database", ({ database }) => database.reachable);
    const codes = version === 5 ? [136, 135] : [3, 5];
    const words = [/it is not available/, /this client is not authorised/];
    for (const [n, code] of codes.entries()) {
      const client = await broker.client();
      await client.next("connect");
      client.send(connack(code));
      await client.gone();
      const said = await sluice.until("it to be told", ({ sentence }) => words[n]!.test(sentence ?? ""));
      assert.equal(said.broker.connected, false);
      assert.deepEqual(await sluice.notReady(), ["the broker is not connected"]);
    }
    const client = await broker.accepted();
    await client.grant();
    client.send(publishPacket(1, 1, "Home/a"));
    await client.next("puback");
    const { state } = await sluice.until("it to be stored", ({ totals }) => totals.stored === 1);
    assert.equal(state, "ok");
  });
}

testWith(
  ["mosquitto"],
  "17: a network that takes the connection and swallows the log-in: given up, told, tried again, and it works when it does",
  async () => {
    await using scene = await Scene.start();
    const { proxy, sluice } = scene;
    assert.equal(await sluice.stop(), 0);
    await scene.publish(20, { qos: 2 });
    proxy.blackhole();
    await sluice.start();
    // An attempt takes ten seconds; before its end all that can be told is that the broker is not there.
    await scene.says(/takes the connection but does not answer the log-in/);
    assert.equal((await sluice.status()).state, "degraded");
    assert.deepEqual(await sluice.notReady(), ["the broker is not connected"]);
    const { accepted } = proxy;
    await waitFor(() => proxy.accepted > accepted, { what: "the next attempt" });
    proxy.blackhole(false);
    proxy.cut();
    await scene.settle();
    await scene.says(/over after/);
    assert.equal(count(sluice.output, /"warning"/g), 1, "an outage is one line");
  },
);
