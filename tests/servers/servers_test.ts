/**
 * The servers that the other tests lean on keep their own promises: ready when started, gone when disposed,
 * byte-exact in between.
 */
import assert from "node:assert/strict";
import { createConnection } from "mysql2/promise";
import {
  mosquittoPub,
  mosquittoSession,
  mosquittoSub,
  mosquittoSubUntil,
  sessionArgs,
} from "./mosquitto_clients.ts";
import { startMosquitto } from "./mosquitto.ts";
import { eachDatabase, type StartDatabase, testWith } from "./needs.ts";
import { startProxy } from "./proxy.ts";
import { openPublisher, publish, type QoS } from "./publisher.ts";
import { accepts } from "./server_process.ts";
import { waitFor } from "./wait_for.ts";

Deno.test("waitFor returns the first truthy value and says what it waited for in vain", async () => {
  let calls = 0;
  assert.equal(await waitFor(() => ++calls === 3 && "third", { what: "the third call" }), "third");
  const refusal = () => Promise.reject(new Error("not yet"));
  await assert.rejects(
    waitFor(refusal, { what: "a miracle", timeoutMs: 1 }),
    /in vain for a miracle.*not yet/,
  );
});

testWith(
  ["mosquitto"],
  "a mosquitto is ready, keeps sessions over a restart, and leaves nothing behind",
  async () => {
    let dir = "";
    let port = 0;
    {
      await using broker = await startMosquitto({ persistence: true });
      ({ dir, port } = broker);
      const reader = { clientId: "reader", args: sessionArgs({ version: 5 }) };
      await mosquittoSession(broker.url, "home/#", { clientId: "reader" });
      await publish(broker.url, [{ topic: "home/a", payload: "one" }, { topic: "home/a", payload: "two" }]);
      const before = broker.pid;
      await broker.restart();
      assert.notEqual(broker.pid, before);
      assert.deepEqual(await mosquittoSub(broker.url, "home/#", 2, reader), ["one", "two"]);
      await broker.kill();
      assert.equal(broker.running, false);
      assert.equal(await accepts(port), false);
    }
    await assert.rejects(Deno.stat(dir), Deno.errors.NotFound);
  },
);

testWith(["mosquitto"], "a broker that cannot start says why with the end of its log", async () => {
  await assert.rejects(startMosquitto({ config: ["no_such_option 1"] }), /no_such_option/);
});

testWith(["mosquitto"], "a broker with users, TLS and WebSocket listens for all of them", async () => {
  await using broker = await startMosquitto({
    users: { ann: "pass word" },
    tls: "clientCertificate",
    websockets: true,
  });
  await assert.rejects(publish(broker.url, [{ topic: "a", payload: "b" }]), /reason 135/);
  const url = broker.url.replace("//", "//ann:pass%20word@");
  assert.equal((await publish(url, [{ topic: "a", payload: "b" }])).length, 1);
  const tls = broker.tls!;
  const args = ["--cafile", tls.ca, "--cert", tls.clientCert, "--key", tls.clientKey];
  await mosquittoPub(`mqtts://ann:pass%20word@localhost:${tls.port}`, "a", ["b"], { args });
  await assertRefusesWithoutCertificate(tls);
  const socket = new WebSocket(broker.websocketUrl!, "mqtt");
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  await new Promise((resolve) => {
    socket.onclose = resolve;
    socket.close();
  });
});

/** In TLS 1.3 the client learns from its first read that its certificate was missed. */
async function assertRefusesWithoutCertificate({ port, ca }: { port: number; ca: string }): Promise<void> {
  const caCerts = [await Deno.readTextFile(ca)];
  using connection = await Deno.connectTls({ hostname: "localhost", port, caCerts });
  await assert.rejects(connection.read(new Uint8Array(1)), /certificate/i);
}

for (const version of [4, 5] as const) {
  for (const qos of [0, 1, 2] as const) {
    testWith(
      ["mosquitto"],
      `a publisher's accepted messages arrive: MQTT ${version}, QoS ${qos}`,
      async () => {
        await publishThroughBreaks(version, qos);
      },
    );
  }
}

/** 300 messages through a proxy that resets the connection now and then. QoS 2: each arrives once; QoS 1: at least once. */
async function publishThroughBreaks(version: 4 | 5, qos: QoS): Promise<void> {
  await using broker = await startMosquitto();
  await using proxy = await startProxy({ target: broker.port });
  // The reader's connection is sound, so QoS 1 suffices; at QoS 2 mosquitto 2.0.11 lets later messages overtake.
  const session = { clientId: "reader", version, qos: 1 as const };
  const reader = { ...session, args: sessionArgs(session) };
  await mosquittoSession(broker.url, "home/#", session);
  await using publisher = await openPublisher(proxy.url(), { version, qos });
  let chunks = 0;
  if (qos > 0) proxy.onData = (direction) => direction === "down" && ++chunks % 5 === 0 ? "cut" : "pass";
  const sent = Array.from({ length: 300 }, (_, n) => publisher.publish("home/x", `message ${n}`));
  const outcomes = await Promise.all(sent);
  assert.ok(outcomes.every(({ outcome }) => outcome === "accepted"));
  assert.ok(qos === 0 || outcomes.some(({ sends }) => sends > 1), "no connection was cut");
  if (qos === 0) return;
  await mosquittoPub(broker.url, "home/x", ["end"]);
  const seen = await mosquittoSubUntil(broker.url, "home/#", "end", reader);
  assert.equal(new Set(seen).size, 300);
  if (qos === 2) assert.equal(seen.length, 300);
}

testWith(["mosquitto"], "a publisher that must not send twice leaves the outcome unknown", async () => {
  await using broker = await startMosquitto();
  await using proxy = await startProxy({ target: broker.port });
  await using publisher = await openPublisher(proxy.url(), { resend: false });
  proxy.swallow("down");
  const lost = publisher.publish("home/x", "lost");
  await waitFor(() => proxy.wire("up").length > 40, { what: "the PUBLISH on the wire" });
  proxy.release();
  proxy.cut();
  assert.deepEqual(await lost, { outcome: "unknown", reason: 0, sends: 1 });
  assert.equal((await publisher.publish("home/x", "next")).outcome, "accepted");
});

testWith(["mosquitto"], "what the broker refuses is not counted as accepted", async () => {
  await using broker = await startMosquitto();
  await Deno.writeTextFile(`${broker.dir}/acl`, "topic readwrite home/#\n");
  await using strict = await startMosquitto({ config: [`acl_file ${broker.dir}/acl`] });
  const messages = ["home/a", "secret/b", "home/c"].map((topic) => ({ topic, payload: "x" }));
  for (const qos of [1, 2] as const) {
    const accepted = await publish(strict.url, messages, { qos });
    assert.deepEqual(accepted.map(({ topic }) => topic), ["home/a", "home/c"]);
  }
});

testWith(["mosquitto"], "a sleeping session gets more than mosquitto's usual 1000 messages", async () => {
  await using broker = await startMosquitto();
  const reader = { clientId: "reader", args: sessionArgs({ version: 5 }) };
  await mosquittoSession(broker.url, "home/#", { clientId: "reader" });
  const messages = Array.from({ length: 1500 }, (_, n) => ({ topic: "home/a", payload: String(n) }));
  assert.equal((await publish(broker.url, messages)).length, 1500);
  const seen = await mosquittoSub(broker.url, "home/#", 1500, reader);
  assert.deepEqual(seen, messages.map(({ payload }) => payload));
});

eachDatabase((flavour, start) => {
  testWith(
    [flavour],
    `${flavour}: logs in as sluice, survives kill and restart, is gone on dispose`,
    async () => {
      await liveThroughKill(start);
    },
  );

  testWith([flavour], `${flavour}: TLS is verified against its own authority`, async () => {
    await using server = await start({ tls: true });
    const ca = await Deno.readTextFile(server.tls!.ca);
    const connection = await createConnection({ uri: server.url(), ssl: { ca, rejectUnauthorized: true } });
    const [rows] = await connection.query("SHOW STATUS LIKE 'Ssl_cipher'");
    assert.notEqual((rows as { Value: string }[])[0]!.Value, "");
    await connection.end();
  });

  testWith([flavour], `${flavour}: a server that cannot start says why with the end of its log`, async () => {
    await assert.rejects(start({ args: ["--no-such-option"] }), /no-such-option/);
  });
});

async function liveThroughKill(start: StartDatabase): Promise<void> {
  let dir = "";
  {
    await using server = await start({ args: ["--max-connections=17"] });
    dir = server.dir;
    assert.deepEqual(await server.admin("SELECT @@max_connections AS n"), [{ n: 17 }]);
    const name = await server.createDatabase();
    const connection = await createConnection(server.url(name));
    connection.on("error", () => {});
    await connection.query("CREATE TABLE t (v varchar(40)) ENGINE=InnoDB");
    await connection.query("INSERT INTO t VALUES ('grüße 😀')");
    await server.kill();
    connection.destroy();
    const before = server.port;
    await server.restart();
    assert.equal(server.port, before);
    assert.deepEqual(await server.admin(`SELECT v FROM ${name}.t`), [{ v: "grüße 😀" }]);
    await server.kill("SIGSTOP");
  }
  await assert.rejects(Deno.stat(dir), Deno.errors.NotFound);
}
