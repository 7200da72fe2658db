/** All four transports, certificates, and what is said when they do not fit. */
import assert from "node:assert/strict";
import { createServer, type TLSSocket } from "node:tls";
import type { AddressInfo } from "node:net";
import type { SourceOptions, TlsOptions } from "../../src/mqtt/source.ts";
import { makeCertificates } from "../servers/certificates.ts";
import { freePort } from "../servers/free_port.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { run } from "../servers/server_process.ts";
import { waitFor } from "../servers/wait_for.ts";
import { openTestSource } from "./opened_source.ts";
import { Reader } from "./reader.ts";

/** Above 16 KiB, the largest record of TLS; mosquitto 2.0 writes 4 KiB to a WebSocket in a tenth of a second. */
const LARGE = 20_000;

/** Small and large messages go through, and the session is found again on a second connection. */
async function works(url: string, plainUrl: string, options: Partial<SourceOptions> = {}): Promise<void> {
  for (const sessionPresent of [false, true]) {
    await using opened = openTestSource(url, { previousFilters: sessionPresent ? ["#"] : [], ...options });
    await using reader = new Reader(opened.source);
    await opened.ready();
    assert.equal(opened.source.stats.sessionPresent, sessionPresent);
    const payloads = [...Array.from({ length: 50 }, (_, n) => `${n}`), "x".repeat(LARGE)];
    await publish(plainUrl, payloads.map((payload) => ({ topic: "a", payload })), { qos: 2 });
    await reader.until(
      ({ kinds }) => kinds.filter((kind) => kind === "release").length === 51,
      "all releases",
    );
    assert.deepEqual(reader.payloads, payloads);
    assert.equal(opened.source.stats.connects, 1);
  }
}

/** The sentence with which an attempt is refused. */
async function said(url: string, tls?: TlsOptions): Promise<string> {
  await using opened = openTestSource(url, { tls, connectTimeoutMs: 5000 });
  const { error } = await opened.event("refused");
  return `${error.message} -- ${error.hint}`;
}

const read = (file: string) => () => Deno.readTextFile(file);

testWith(
  ["mosquitto"],
  "mqtts with an own authority, and with a client certificate that the broker asks for",
  async () => {
    await using broker = await startMosquitto({ tls: "clientCertificate" });
    const { url, ca, clientCert, clientKey } = broker.tls!;
    const tls = { ca: read(ca), cert: read(clientCert), key: await Deno.readTextFile(clientKey) };
    await works(url, broker.url, { tls });
    await works(url.replace("localhost", "127.0.0.1"), broker.url, { tls, clientId: "by address" });
    assert.match(await said(url, { ca: tls.ca }), /-- .*broker\.tls\.cert/);
  },
);

testWith(
  ["mosquitto"],
  "an authority that is not trusted is refused, unless verification is off",
  async () => {
    await using broker = await startMosquitto({ tls: true });
    await using stranger = await startMosquitto({ tls: true });
    assert.match(
      await said(broker.tls!.url),
      /not issued by an authority that is trusted here -- set broker\.tls\.ca/,
    );
    assert.match(await said(broker.tls!.url, { ca: read(stranger.tls!.ca) }), /not issued by an authority/);
    await works(broker.tls!.url, broker.url, { tls: { verify: false } });
  },
);

testWith(
  ["mosquitto"],
  "certificates that are renewed at both ends, by another authority, are taken at the next connection",
  async () => {
    await using broker = await startMosquitto({ tls: "clientCertificate", persistence: true });
    const { url, ca, clientCert, clientKey } = broker.tls!;
    const tls = { ca: read(ca), cert: read(clientCert), key: read(clientKey) };
    await using opened = openTestSource(url, { tls });
    await opened.ready();
    await makeCertificates(broker.dir);
    await broker.restart();
    await waitFor(() => opened.source.stats.connects === 2, { what: "the next connection" });
    assert.equal(opened.source.stats.sessionPresent, true);
  },
);

testWith(["mosquitto"], "ws carries MQTT, and a port that speaks something else is told", async () => {
  await using broker = await startMosquitto({ websockets: true });
  await works(broker.websocketUrl!, broker.url);
  await using web = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response("hello"),
  );
  const told = await said(`ws://127.0.0.1:${web.addr.port}`);
  assert.match(told, /does not speak MQTT over WebSocket there -- check port and path/);
});

testWith(["mosquitto"], "wss with an own authority", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const certificates = await makeCertificates(dir);
    const port = freePort();
    await using broker = await startMosquitto({
      config: [
        `listener ${port} 127.0.0.1`,
        "protocol websockets",
        `certfile ${certificates.serverCert}`,
        `keyfile ${certificates.serverKey}`,
      ],
    });
    const url = `wss://localhost:${port}`;
    await works(url, broker.url, { tls: { ca: read(certificates.ca) } });
    assert.match(await said(url), /not issued by an authority/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

testWith(["mosquitto"], "TLS to a port without TLS says so", async () => {
  await using broker = await startMosquitto();
  assert.match(await said(broker.url.replace("mqtt:", "mqtts:")), /TLS handshake -- use mqtt:\/\//);
});

/** A TLS server with a certificate for `name` that is valid for so many days. */
async function tlsServer(dir: string, name: string, days: number) {
  const openssl = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const request = ["-keyout", "own.key", "-out", "own.csr", "-subj", `/CN=${name}`];
  await run("openssl", [...openssl, ...request], { cwd: dir });
  await Deno.writeTextFile(`${dir}/own.ext`, `subjectAltName=DNS:${name}\n`);
  const sign = ["-req", "-in", "own.csr", "-signkey", "own.key", "-out", "own.pem", "-extfile", "own.ext"];
  await run("openssl", ["x509", ...sign, "-days", `${days}`], { cwd: dir });
  const cert = await Deno.readTextFile(`${dir}/own.pem`);
  const sockets = new Set<TLSSocket>();
  const server = createServer({ cert, key: await Deno.readTextFile(`${dir}/own.key`) }, (socket) => {
    socket.on("error", () => {});
    sockets.add(socket);
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    cert,
    url: `mqtts://localhost:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

for (
  const [what, name, days, sentence] of [
    ["for another host name", "other.example", 1, /its certificate is for another host name -- use a name/],
    [
      "that has expired",
      "localhost",
      -1,
      /its certificate has expired -- renew it, or set this computer's clock/,
    ],
  ] as const
) {
  Deno.test(`a certificate ${what} is refused with what to do`, async () => {
    const dir = await Deno.makeTempDir();
    try {
      await using server = await tlsServer(dir, name, days);
      assert.match(await said(server.url, { ca: server.cert }), sentence);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

Deno.test("what is no PEM is told before anything is sent", async () => {
  assert.match(
    await said("mqtts://127.0.0.1:1", { ca: "nonsense" }),
    /broker\.tls\.ca holds no certificate in PEM form/,
  );
  assert.match(
    await said("mqtts://127.0.0.1:1", { key: "nonsense" }),
    /broker\.tls\.key holds no private key in PEM form/,
  );
});

Deno.test("a name that nobody knows is told", async () => {
  for (const scheme of ["mqtt", "mqtts", "ws", "wss"]) {
    assert.match(await said(`${scheme}://no-such-host.invalid`), /its name is not known -- check the host/);
  }
});
