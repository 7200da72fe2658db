/**
 * A MySQL server that obeys a script: for the faults that a real server shows too rarely or cannot be made to show.
 *
 * It accepts, refuses, stays silent before or after the greeting, answers late, wrongly, out of order or not at all,
 * ends (FIN), resets (RST), and speaks without being asked (ERR 4031). It counts its sockets and keeps the commands
 * of each connection. It stores nothing and understands no SQL: what is not scripted is answered with OK, `SELECT 1`
 * with one row, and a query for server variables as a server with its defaults does. Prepared statements, TLS and
 * compression are refused.
 */
import type { Buffer } from "node:buffer";
import { createServer, type Server, type Socket } from "node:net";
import { freePort } from "./free_port.ts";
import {
  greeting,
  type Login,
  type Ok,
  ok,
  PacketReader,
  packets,
  readLogin,
  type Refusal,
  refusal,
  type ResultSet,
  resultSet,
} from "./mysql_packets.ts";

/**
 * "ok", or an OK with figures; an error; rows; raw bytes as they go over the wire; "hang": no answer, the connection
 * stays; "end": FIN; "reset": RST.
 */
export type Answer = "ok" | Ok | Refusal | ResultSet | Uint8Array | "hang" | "end" | "reset";

export type Command = "QUIT" | "INIT_DB" | "QUERY" | "PING" | "CHANGE_USER" | "RESET_CONNECTION" | "UNKNOWN";

const COMMANDS: Readonly<Record<number, Command>> = {
  0x01: "QUIT",
  0x02: "INIT_DB",
  0x03: "QUERY",
  0x0e: "PING",
  0x11: "CHANGE_USER",
  0x1f: "RESET_CONNECTION",
};

export interface Received {
  readonly command: Command;
  /** The statement of a QUERY, the name of an INIT_DB, else empty. */
  readonly sql: string;
  /** Milliseconds on the monotonic clock. */
  readonly atMs: number;
}

export interface FakeMysqlOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** What the greeting says; "10.11.19-MariaDB" makes a MariaDB of it. Default "9.7.4". */
  readonly version?: string;
}

/** Starts a fake server that accepts every login and answers everything with OK. */
export async function startFakeMysql(options: FakeMysqlOptions = {}): Promise<FakeMysql> {
  const server = new FakeMysql(options.port ?? freePort(), options.version ?? "9.7.4");
  await server.refuse(false);
  return server;
}

/** States: greeting (nothing received yet), ready (logged in), closed. */
export class FakeConnection {
  /** Number of the connection, from 1; also its thread id. */
  readonly number: number;
  readonly commands: Received[] = [];
  state: "greeting" | "ready" | "closed" = "greeting";
  login: Login | undefined;
  readonly #socket: Socket;
  readonly #server: FakeMysql;
  readonly #reader = new PacketReader();

  constructor(number: number, socket: Socket, server: FakeMysql) {
    this.number = number;
    this.#socket = socket;
    this.#server = server;
    socket.on("error", () => {});
    socket.on("close", () => this.state = "closed");
    socket.on("end", () => socket.end());
    socket.on("data", (chunk) => {
      for (const { sequence, payload } of this.#reader.read(chunk as Uint8Array)) {
        void this.#onPacket(sequence, payload);
      }
    });
  }

  /** The statements of this connection, in order. */
  get statements(): string[] {
    return this.commands.filter(({ command }) => command === "QUERY").map(({ sql }) => sql);
  }

  /** Sends the greeting, or does what `onConnect` says instead. */
  async greet(): Promise<void> {
    const answer = await this.#server.onConnect(this);
    if (answer === "ok") this.#write(packets(0, greeting(this.#server.version, this.number)));
    else this.send(answer, 0);
  }

  /** Sends an answer, asked or unasked. `sequence` is the packet's number: 0 unasked, 1 as the answer to a command. */
  send(answer: Answer, sequence = 0): void {
    if (answer === "hang") return;
    if (answer === "end") return void this.#socket.end();
    if (answer === "reset") return void this.#socket.resetAndDestroy();
    this.#write(answer instanceof Uint8Array ? answer : packets(sequence, ...payloadsOf(answer)));
  }

  /** As MySQL 8.0.24 and later do after `wait_timeout`: an unasked ERR 4031, then FIN. */
  timeOut(): void {
    this.send({ errno: 4031, message: "The client was disconnected by the server because of inactivity." });
    this.send("end");
  }

  #write(bytes: Uint8Array): void {
    if (!this.#socket.destroyed && !this.#socket.writableEnded) this.#socket.write(bytes);
  }

  async #onPacket(sequence: number, payload: Buffer): Promise<void> {
    if (this.state === "greeting") {
      this.login = readLogin(payload);
      const answer = await this.#server.onLogin(this.login, this);
      if (answer === "ok") this.state = "ready";
      return this.send(answer, sequence + 1);
    }
    const command = COMMANDS[payload[0]!] ?? "UNKNOWN";
    const sql = command === "QUERY" || command === "INIT_DB" ? payload.toString("utf8", 1) : "";
    const received = { command, sql, atMs: performance.now() };
    this.commands.push(received);
    if (command === "QUIT") return void this.#socket.end();
    this.send(await this.#server.onCommand(received, this), sequence + 1);
  }
}

export class FakeMysql implements AsyncDisposable {
  readonly port: number;
  readonly version: string;
  /** All connections ever accepted, in order. */
  readonly connections: FakeConnection[] = [];
  /** Instead of the greeting; "ok" greets. May wait. */
  onConnect: (connection: FakeConnection) => Answer | Promise<Answer> = () => "ok";
  /** Answer to a login. */
  onLogin: (login: Login, connection: FakeConnection) => Answer | Promise<Answer> = () => "ok";
  /**
   * Answer to a command other than QUIT. It may wait as long as it likes: later commands do not wait for it, so that
   * answers go out in the order in which they are ready.
   */
  onCommand: (received: Received, connection: FakeConnection) => Answer | Promise<Answer> = usualAnswer;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(port: number, version: string) {
    this.port = port;
    this.version = version;
  }

  url(database = "home", user = "sluice:secret"): string {
    return `mysql://${user}@127.0.0.1:${this.port}/${database}`;
  }

  /** Open sockets, logged in or not. */
  get sockets(): number {
    return this.#sockets.size;
  }

  /** Connections that are logged in and open. */
  get ready(): FakeConnection[] {
    return this.connections.filter(({ state }) => state === "ready");
  }

  /** All statements of all connections, each connection's in order. */
  get statements(): string[] {
    return this.connections.flatMap(({ statements }) => statements);
  }

  /** True: the kernel refuses new connections, existing ones go on. False: listens again on the same port. */
  async refuse(on = true): Promise<void> {
    if (on === !this.#server) return;
    if (on) {
      this.#server!.close();
      this.#server = undefined;
      return;
    }
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.port, "127.0.0.1", resolve);
    });
    this.#server = server;
  }

  /** Does one thing to all open connections. */
  sendAll(answer: Answer): void {
    for (const connection of this.connections) if (connection.state !== "closed") connection.send(answer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const server = this.#server;
    const gone = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(gone);
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    const connection = new FakeConnection(this.connections.length + 1, socket, this);
    this.connections.push(connection);
    void connection.greet();
  }
}

/** What a fake server answers where nothing else is said; scripts may fall back on it. */
export function usualAnswer({ command, sql }: Received): Answer {
  if (command === "UNKNOWN") return { errno: 1047, message: "Unknown command", sqlState: "08S01" };
  if (/^\s*select\s+1\s*$/i.test(sql)) return { columns: ["1"], rows: [[1]] };
  return /^SELECT @@/.test(sql) ? variables(sql) : "ok";
}

/** What servers say by default, and these two differ in nothing that is asked. */
const VARIABLES: Readonly<Record<string, string | number>> = {
  "@@max_allowed_packet": 67_108_864,
  "VERSION()": "9.7.4",
  "@@global.wait_timeout": 28_800,
  "@@global.read_only": 0,
};

/** Answers `SELECT expression AS name, ...`; `given` wins over the defaults. */
export function variables(sql: string, given: Readonly<Record<string, string | number>> = {}): ResultSet {
  const all = [...sql.matchAll(/([@\w.]+(?:\(\))?) AS (\w+)/g)];
  return {
    columns: all.map(([, , name]) => name!),
    rows: [all.map(([, expression]) => given[expression!] ?? VARIABLES[expression!] ?? null)],
  };
}

function payloadsOf(answer: "ok" | Ok | Refusal | ResultSet): Uint8Array[] {
  if (answer === "ok") return [ok()];
  if ("columns" in answer) return resultSet(answer);
  return ["errno" in answer ? refusal(answer) : ok(answer)];
}
