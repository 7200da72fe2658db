/**
 * The load generator of the benchmarks, a process of its own: climate messages at QoS 0, 1 or 2 over some clients,
 * as fast as the broker takes them or at a given rate, never more than `window` in flight on a client.
 *
 *   deno run -A tests/bench/load.ts --port 1883 --count 100000 --clients 4 --window 20 --topics 50 [--rate 200] [--bytes 200]
 */
import { parseArgs } from "node:util";
import net from "node:net";
import { Buffer } from "node:buffer";
import { generate, type Packet } from "mqtt-packet";

interface Load {
  readonly port: number;
  readonly qos: 0 | 1 | 2;
  readonly window: number;
  readonly topics: number;
  /** Messages a second over all clients; 0: as many as possible. */
  readonly rate: number;
  /** Of each payload at least. */
  readonly bytes: number;
}

/** Messages written at a time. */
const CHUNK = 256;

const [CONNACK, PUBACK, PUBREC, PUBCOMP] = [2, 4, 5, 7];

class Client {
  readonly #load: Load;
  readonly #number: number;
  readonly #count: number;
  readonly #socket: net.Socket;
  readonly #done = Promise.withResolvers<void>();
  #sent = 0;
  #acknowledged = 0;
  #packetId = 0;
  #pumping = false;
  #rest: Buffer = Buffer.alloc(0);

  constructor(load: Load, number: number, count: number) {
    this.#load = load;
    this.#number = number;
    this.#count = count;
    this.#socket = net.connect({ port: load.port, host: "127.0.0.1", noDelay: true });
  }

  run(perSecond: number): Promise<void> {
    this.#socket.on("data", (data: Buffer) => this.#read(data, perSecond));
    this.#socket.on("error", this.#done.reject);
    this.#write({
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: 4,
      clean: true,
      clientId: `load-${this.#number}-${crypto.randomUUID().slice(0, 8)}`,
      keepalive: 0,
    });
    return this.#done.promise;
  }

  /** Everything that a 3.1.1 broker sends to a publisher has four bytes. */
  #read(data: Buffer, perSecond: number): void {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, data]) : data;
    let at = 0;
    for (; at + 4 <= all.length; at += 4) {
      const kind = all[at] >> 4;
      if (kind === CONNACK) perSecond > 0 ? this.#drip(perSecond) : this.#schedule();
      else if (kind === PUBREC) this.#write({ cmd: "pubrel", messageId: all.readUInt16BE(at + 2) });
      else if (kind === PUBACK || kind === PUBCOMP) this.#acknowledged++;
    }
    this.#rest = all.subarray(at);
    if (this.#acknowledged === this.#count) this.#end();
    else if (perSecond === 0) this.#schedule();
  }

  #write(packet: Packet): void {
    this.#socket.write(generate(packet));
  }

  #end(): void {
    this.#socket.end(generate({ cmd: "disconnect" }), () => this.#done.resolve());
  }

  #schedule(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    const { qos, window } = this.#load;
    const room = qos === 0 ? CHUNK : Math.min(CHUNK, window - (this.#sent - this.#acknowledged));
    const until = Math.min(this.#count, this.#sent + room);
    const chunks = [];
    while (this.#sent < until) chunks.push(this.#next());
    if (chunks.length === 0) return;
    const flowing = this.#socket.write(Buffer.concat(chunks));
    if (qos > 0) return;
    if (this.#sent === this.#count) this.#end();
    else if (flowing) this.#schedule();
    else this.#socket.once("drain", () => this.#schedule());
  }

  /** A PUBLISH, written by hand: the generator must not take the processor from what is measured. */
  #next(): Buffer {
    const n = this.#sent++;
    this.#packetId = this.#packetId % 65_535 + 1;
    const { qos, topics, bytes } = this.#load;
    const topic = `Home/room${n % topics}/climate`;
    const values = `{"temperature":${20 + (n % 100) / 10},"humidity":50,"battery":${n % 100},` +
      `"c":${this.#number},"seq":${n},"t":${Date.now()}`;
    const payload = values.length + 1 < bytes ? padded(values, bytes) : `${values}}`;
    const length = 2 + topic.length + (qos > 0 ? 2 : 0) + payload.length;
    const packet = Buffer.allocUnsafe(length < 128 ? length + 2 : length + 3);
    let at = packet.writeUInt8(0x30 | qos << 1, 0);
    if (length >= 128) at = packet.writeUInt8(length & 127 | 128, at);
    at = packet.writeUInt8(length < 128 ? length : length >> 7, at);
    at = packet.writeUInt16BE(topic.length, at);
    at += packet.write(topic, at, "latin1");
    if (qos > 0) at = packet.writeUInt16BE(this.#packetId, at);
    packet.write(payload, at, "latin1");
    return packet;
  }

  #drip(perSecond: number): void {
    const started = performance.now();
    console.log(JSON.stringify({ startedAt: performance.timeOrigin + started }));
    const timer = setInterval(() => {
      const due = Math.min(this.#count, Math.floor((performance.now() - started) * perSecond / 1_000));
      while (this.#sent < due) this.#socket.write(this.#next());
      if (this.#sent === this.#count) clearInterval(timer);
    }, 1);
  }
}

/** With one more member, of text as hard to pack as what sensors say. */
function padded(values: string, bytes: number): string {
  const missing = bytes - values.length - ',"note":""}'.length;
  let note = "";
  while (note.length < missing) note += Math.random().toString(36).slice(2);
  return `${values},"note":"${note.slice(0, Math.max(0, missing))}"}`;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      port: { type: "string" },
      count: { type: "string", default: "100000" },
      qos: { type: "string", default: "1" },
      clients: { type: "string", default: "4" },
      window: { type: "string", default: "20" },
      topics: { type: "string", default: "50" },
      rate: { type: "string", default: "0" },
      bytes: { type: "string", default: "0" },
    },
  });
  const clients = Number(values.clients);
  const load: Load = {
    port: Number(values.port),
    qos: Number(values.qos) as Load["qos"],
    window: Number(values.window),
    topics: Number(values.topics),
    rate: Number(values.rate),
    bytes: Number(values.bytes),
  };
  const each = Math.floor(Number(values.count) / clients);
  const started = performance.now();
  await Promise.all(
    Array.from({ length: clients }, (_, i) => new Client(load, i, each).run(load.rate / clients)),
  );
  const seconds = (performance.now() - started) / 1_000;
  console.log(
    JSON.stringify({ published: each * clients, seconds, perSecond: Math.round(each * clients / seconds) }),
  );
}
