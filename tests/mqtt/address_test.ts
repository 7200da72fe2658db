/** How a broker's URL is read: protocols, ports, IPv6, user and password in it. */
import assert from "node:assert/strict";
import { ConfigurationError } from "../../src/errors.ts";
import { brokerAddress } from "../../src/mqtt/broker_options.ts";
import { freePort } from "../servers/free_port.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { openTestSource } from "./opened_source.ts";
import { Reader } from "./reader.ts";

Deno.test("each protocol has its port, and what is shown of a URL is neither user nor password", () => {
  for (const [protocol, port] of [["mqtt", 1883], ["mqtts", 8883], ["ws", 80], ["wss", 443]] as const) {
    const address = brokerAddress(`${protocol}://sluice:s3cret@broker.home/mqtt?x=1`);
    assert.deepEqual([address.protocol, address.host, address.port], [protocol, "broker.home", port]);
    assert.equal(address.display, `${protocol}://broker.home:${port}`);
    assert.equal(address.href, `${protocol}://broker.home:${port}/mqtt?x=1`);
    assert.deepEqual([address.username, address.password], ["sluice", "s3cret"]);
  }
  assert.equal(brokerAddress("mqtt://192.168.1.10:11883").port, 11883);
});

Deno.test("user and password may be percent-encoded, and a lone % is meant as it stands", () => {
  const encoded = brokerAddress("mqtt://a%40home:p%3Aw%2F@h");
  assert.deepEqual([encoded.username, encoded.password], ["a@home", "p:w/"]);
  const plain = brokerAddress("mqtt://a:100%@h");
  assert.deepEqual([plain.username, plain.password], ["a", "100%"]);
});

Deno.test("an IPv6 address stands in brackets in the URL and without them towards the network", () => {
  const address = brokerAddress("ws://[fe80::1]:9001/mqtt");
  assert.deepEqual([address.host, address.port, address.href], ["fe80::1", 9001, "ws://[fe80::1]:9001/mqtt"]);
});

Deno.test("what is no broker's URL is refused with an example", () => {
  for (const text of ["127.0.0.1", "http://h", "mqtt:h:1883", "mqtt://", "mqtt://h:99999", ""]) {
    assert.throws(
      () => brokerAddress(text),
      (error) => error instanceof ConfigurationError && /mqtt:\/\/192/.test(error.hint ?? ""),
      text,
    );
  }
});

testWith(["mosquitto", "ipv6"], "a broker is reached by IPv6, by mqtt and by ws", async () => {
  const [port, web] = [freePort(), freePort()];
  await using broker = await startMosquitto({
    config: [`listener ${port} ::1`, `listener ${web} ::1`, "protocol websockets"],
  });
  for (const url of [`mqtt://[::1]:${port}`, `ws://[::1]:${web}`]) {
    await using opened = openTestSource(url, { clientId: url });
    await using reader = new Reader(opened.source);
    await opened.ready();
    await publish(broker.url, [{ topic: "a", payload: url }]);
    await reader.count(1);
  }
});
