/**
 * The fault proxy does what it says to real sockets, and nothing else.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type AddressInfo, connect as tcpConnect, createServer, type Socket } from "node:net";
import { type FaultProxy, startProxy } from "./proxy.ts";
import { waitFor } from "./wait_for.ts";

/** One end of a connection, with all that it saw. */
class End {
  readonly socket: Socket;
  #chunks: Uint8Array[] = [];
  ended = false;
  closed = false;
  error = "";

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Uint8Array) => this.#chunks.push(chunk));
    socket.on("end", () => this.ended = true);
    socket.on("close", () => this.closed = true);
    socket.on("error", (error: NodeJS.ErrnoException) => this.error = error.code ?? error.message);
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString("latin1");
  }

  get bytes(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }

  get chunks(): number {
    return this.#chunks.length;
  }

  async saw(text: string): Promise<void> {
    await waitFor(() => this.text === text, { what: `${JSON.stringify(text)} at one end` });
  }

  async wasReset(): Promise<void> {
    await waitFor(() => this.closed, { what: "the connection to close" });
    assert.equal(this.error, "ECONNRESET");
  }
}

/** A listener, a proxy before it, and clients; all closed on dispose. */
class Bench implements AsyncDisposable {
  readonly servers: End[] = [];
  readonly clients: End[] = [];
  readonly #server = createServer(
    { allowHalfOpen: true, noDelay: true },
    (s) => this.servers.push(new End(s)),
  );
  proxy!: FaultProxy;

  static async open(): Promise<Bench> {
    const bench = new Bench();
    await new Promise<void>((resolve) => bench.#server.listen(0, "127.0.0.1", resolve));
    bench.proxy = await startProxy({ target: (bench.#server.address() as AddressInfo).port });
    return bench;
  }

  /** Connects through the proxy; resolves when the far end has accepted. */
  async pair(): Promise<[End, End]> {
    const client = this.dial();
    const index = this.servers.length;
    await waitFor(() => this.servers.length > index, { what: "the far end to accept" });
    return [client, this.servers[index]!];
  }

  dial(): End {
    const client = new End(
      tcpConnect({ host: "127.0.0.1", port: this.proxy.port, noDelay: true, allowHalfOpen: true }),
    );
    this.clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of [...this.clients, ...this.servers]) socket.destroy();
    await this.proxy[Symbol.asyncDispose]();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

Deno.test("bytes pass unaltered in both directions and the end comes after them", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  const data = crypto.getRandomValues(new Uint8Array(65_536));
  const all = Buffer.concat(Array(64).fill(data));
  client.socket.end(all);
  await waitFor(() => server.ended, { what: "the end of the stream" });
  assert.ok(Buffer.compare(server.bytes, all) === 0, "the bytes differ");
  server.socket.end("answer");
  await waitFor(() => client.ended, { what: "the answer's end" });
  assert.equal(client.text, "answer");
  assert.equal(bench.proxy.wire("up").length, all.length);
  assert.equal(new TextDecoder().decode(bench.proxy.wire("down", 1)), "answer");
  await waitFor(() => bench.proxy.connections === 0, { what: "the proxy to forget the connection" });
});

Deno.test("cut resets both sides, close ends both sides", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  bench.proxy.cut();
  await Promise.all([client.wasReset(), server.wasReset()]);
  const [client2, server2] = await bench.pair();
  bench.proxy.close();
  await waitFor(() => client2.ended && server2.ended, { what: "both ends to end" });
  assert.equal(client2.error + server2.error, "");
});

Deno.test("a reset of one side reaches the other", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  server.socket.resetAndDestroy();
  await client.wasReset();
});

Deno.test("held bytes are released in order, even when their sender is gone", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  bench.proxy.hold("up");
  client.socket.write("one ");
  client.socket.end("two");
  server.socket.write("down is free");
  await client.saw("down is free");
  client.socket.destroy();
  await waitFor(() => bench.proxy.wire("up").length === 7, { what: "the proxy to read" });
  assert.equal(server.text, "");
  bench.proxy.release("up");
  await server.saw("one two");
  await waitFor(() => server.ended, { what: "the end" });
});

Deno.test("onData holds, drops or cuts one connection and leaves the others alone", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  const [client2, server2] = await bench.pair();
  bench.proxy.onData = (direction, chunk, connection) => {
    const text = new TextDecoder().decode(chunk);
    if (connection !== 1 || direction === "down") return "pass";
    return text === "COMMIT" ? "hold" : text === "noise" ? "drop" : text === "bomb" ? "cut" : "pass";
  };
  client.socket.write("noise");
  await waitFor(() => bench.proxy.log.length === 1, { what: "the noise" });
  client.socket.write("COMMIT");
  await waitFor(() => bench.proxy.log.length === 2, { what: "the COMMIT" });
  client.socket.write("after");
  client2.socket.write("COMMIT");
  await server2.saw("COMMIT");
  await waitFor(() => bench.proxy.log.length === 4, { what: "all chunks" });
  assert.equal(server.text, "");
  bench.proxy.release();
  await server.saw("COMMITafter");
  client.socket.write("bomb");
  await Promise.all([client.wasReset(), server.wasReset()]);
  assert.equal(server2.closed, false);
});

Deno.test("a black hole accepts and never answers, and swallows what was open", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  bench.proxy.blackhole();
  client.socket.write("lost");
  const stranger = bench.dial();
  stranger.socket.write("hello?");
  await waitFor(() => bench.proxy.wire("up").length === 10, { what: "both to be read" });
  assert.equal(bench.proxy.accepted, 2);
  assert.equal(bench.servers.length, 1);
  bench.proxy.blackhole(false);
  client.socket.write("found");
  await server.saw("found");
  assert.equal(stranger.closed, false);
});

Deno.test("swallow loses bytes but not the end, which comes with the release", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  bench.proxy.swallow("up");
  client.socket.end("lost");
  await waitFor(() => bench.proxy.wire("up").length === 4, { what: "the bytes" });
  server.socket.write("still here");
  await client.saw("still here");
  assert.equal(server.ended, false);
  bench.proxy.release();
  await waitFor(() => server.ended, { what: "the end" });
  assert.equal(server.text, "");
});

Deno.test("refuse closes the door to new connections only, and opens it again", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  await bench.proxy.refuse();
  const refused = bench.dial();
  await waitFor(() => refused.closed, { what: "the refusal" });
  assert.equal(refused.error, "ECONNREFUSED");
  client.socket.write("still open");
  await server.saw("still open");
  await bench.proxy.refuse(false);
  await bench.pair();
});

Deno.test("slices arrive one by one and delays keep the order", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  bench.proxy.slice(1);
  client.socket.write("byte by byte");
  await server.saw("byte by byte");
  assert.ok(server.chunks > 3, `came in ${server.chunks} pieces`);
  bench.proxy.slice(0);
  bench.proxy.delay(120);
  const beganMs = performance.now();
  client.socket.write("!");
  await waitFor(() => bench.proxy.wire("up").length === 13, { what: "the first" });
  client.socket.write("?");
  await server.saw("byte by byte!?");
  assert.ok(performance.now() - beganMs >= 119, "nothing was delayed");
});

Deno.test("a target that is gone shows as a reset, and the target can be changed", async () => {
  await using bench = await Bench.open();
  const { target } = bench.proxy;
  bench.proxy.target = 1;
  const client = bench.dial();
  await client.wasReset();
  bench.proxy.target = `127.0.0.1:${target}`;
  await bench.pair();
});

Deno.test("a reader that does not read slows its sender down through the proxy", async () => {
  await using bench = await Bench.open();
  const [client, server] = await bench.pair();
  server.socket.pause();
  const chunk = Buffer.alloc(65_536);
  const total = 1024;
  let sent = 0;
  const pump = () => {
    while (sent < total && client.socket.write(chunk)) sent++;
    if (sent < total) client.socket.once("drain", () => (sent++, pump()));
  };
  pump();
  await settled(() => sent);
  assert.ok(sent < total / 2, `${sent} of ${total} chunks went into a paused reader`);
  server.socket.resume();
  await waitFor(() => server.bytes.length >= total * chunk.length, { what: "all of it", intervalMs: 100 });
});

/** Waits until a number has been the same for 20 looks in a row. */
async function settled(value: () => number): Promise<void> {
  let last = -1;
  let same = 0;
  await waitFor(() => {
    same = value() === last ? same + 1 : 0;
    last = value();
    return same === 20;
  }, { what: "the flow to come to rest" });
}
