/**
 * One connection over the wire to a server that does what a test says: log-ins that hang or fail, answers that come
 * late, wrongly or never, and what is known of a statement afterwards.
 */
import assert from "node:assert/strict";
import { poolClass } from "../../src/mysql/classify.ts";
import {
  CommandTimeoutError,
  connectMysql,
  type MysqlConnection,
  type MysqlSettings,
} from "../../src/mysql/connect.ts";
import { ConnectionLostError } from "../../src/pool/mod.ts";
import {
  type Answer,
  type FakeMysql,
  type Received,
  startFakeMysql,
  usualAnswer,
  variables,
} from "../servers/fake_mysql.ts";
import { packets, refusal } from "../servers/mysql_packets.ts";
import { waitFor } from "../servers/wait_for.ts";
import { failure } from "./wire.ts";

function settings(server: FakeMysql, more: Partial<MysqlSettings> = {}): MysqlSettings {
  return {
    host: "127.0.0.1",
    port: server.port,
    user: "sluice",
    database: "home",
    password: "secret",
    ...more,
  };
}

const noSockets = (server: FakeMysql) =>
  waitFor(() => server.sockets === 0, { what: "the server to have no socket" });

/** Answers statements that begin so; everything else as usual. */
function answering(
  server: FakeMysql,
  begin: string,
  answer: (received: Received) => Answer | Promise<Answer>,
): void {
  server.onCommand = (received) => received.sql.startsWith(begin) ? answer(received) : usualAnswer(received);
}

/** Where a log-in stands when it is held up: each makes the server silent there. */
const PHASES: Readonly<Record<string, (server: FakeMysql) => void>> = {
  "before the greeting": (server) => void (server.onConnect = () => "hang"),
  "at the password": (server) => void (server.onLogin = () => "hang"),
  "while the session is set up": (server) => void (server.onCommand = () => "hang"),
};

for (const [phase, hold] of Object.entries(PHASES)) {
  Deno.test(`a server that is silent ${phase} is given up after the limit, and no socket stays`, async () => {
    await using server = await startFakeMysql();
    hold(server);
    const error = await failure<Error & { code: string }>(
      connectMysql(settings(server, { connectTimeoutMs: 100 })),
    );
    assert.equal(error.code, "ETIMEDOUT");
    await noSockets(server);
    assert.equal(server.connections.length, 1);
  });

  Deno.test(`an abort ${phase} rejects with its own reason, and no socket stays`, async () => {
    await using server = await startFakeMysql();
    hold(server);
    const stop = new AbortController();
    const reason = new Error("enough");
    const end = failure(connectMysql(settings(server, { signal: stop.signal })));
    await waitFor(() => {
      const [connection] = server.connections;
      return phase === "before the greeting" ? connection : connection?.login;
    }, { what: "the log-in to get there" });
    stop.abort(reason);
    assert.equal(await end, reason);
    await noSockets(server);
  });
}

Deno.test("an abort before it begins opens no socket", async () => {
  await using server = await startFakeMysql();
  const reason = new Error("enough");
  assert.equal(await failure(connectMysql(settings(server, { signal: AbortSignal.abort(reason) }))), reason);
  assert.equal(server.connections.length, 0);
});

Deno.test("what a server says at the door or at the log-in is told by its number, and the pool knows what it means", async () => {
  await using server = await startFakeMysql();
  const meanings = {
    1040: "busy",
    1203: "busy",
    1226: "busy",
    1129: "permanent",
    1045: "permanent",
  } as const;
  for (const [number, meaning] of Object.entries({ ...meanings, 1049: "permanent", 1044: "permanent" })) {
    const errno = Number(number);
    const refusing = () => ({ errno, message: "no", sqlState: "08004" });
    const atTheDoor = [1040, 1129].includes(errno);
    server.onConnect = atTheDoor ? refusing : () => "ok";
    server.onLogin = refusing;
    const error = await failure<Error & { errno: number }>(connectMysql(settings(server)));
    assert.deepEqual([error.errno, poolClass(error)], [errno, meaning]);
  }
  for (const how of ["end", "reset"] as const) {
    server.onConnect = () => how;
    assert.equal(poolClass(await failure(connectMysql(settings(server)))), "other");
  }
  await server.refuse();
  assert.equal((await failure<{ code: string }>(connectMysql(settings(server)))).code, "ECONNREFUSED");
  await noSockets(server);
});

/** What a statement that begins with "T" is told, and whether it may have been executed. */
const ENDS: Readonly<Record<string, { answer: Answer; sent: boolean }>> = {
  "FIN": { answer: "end", sent: true },
  "RST": { answer: "reset", sent: true },
  "error 1053, server shutdown": {
    answer: { errno: 1053, message: "shutdown", sqlState: "08S01" },
    sent: true,
  },
  "an unasked error 4031 that was under way already": {
    answer: packets(0, refusal({ errno: 4031, message: "disconnected because of inactivity" })),
    sent: false,
  },
  "a packet out of order": { answer: packets(3, refusal({ errno: 1064, message: "syntax" })), sent: true },
};

for (const [name, { answer, sent }] of Object.entries(ENDS)) {
  Deno.test(`a statement that is met by ${name} is lost, sent: ${sent}, and its connection with it`, async () => {
    await using server = await startFakeMysql();
    answering(server, "T", () => answer);
    const connection = await connectMysql(settings(server));
    const error = await failure<ConnectionLostError>(connection.query("T"));
    assert.ok(error instanceof ConnectionLostError, String(error));
    assert.equal(error.sent, sent);
    assert.ok(error.cause instanceof Error);
    assert.match(error.message, sent ? /what became of the statement is not known$/ : /was not executed$/);
    await connection.closed;
    await noSockets(server);
    const next = await failure<ConnectionLostError>(connection.query("T"));
    assert.equal(next.sent, false, "what comes later never leaves");
    assert.deepEqual(server.statements.filter((it) => it === "T").length, 1);
  });
}

Deno.test("`closed` is told before the statement is, so that nobody takes the connection for a good one meanwhile", async () => {
  await using server = await startFakeMysql();
  answering(server, "T", () => "reset");
  const connection = await connectMysql(settings(server));
  const order: string[] = [];
  void connection.closed.then(() => order.push("closed"));
  await connection.query("T").catch(() => order.push("statement"));
  assert.deepEqual(order, ["closed", "statement"]);
});

Deno.test("a statement that still waited for its turn was not sent; nor was one that was only being prepared", async () => {
  await using server = await startFakeMysql();
  answering(server, "T", () => "reset");
  const connection = await connectMysql(settings(server));
  const [first, second] = await Promise.all([
    failure<ConnectionLostError>(connection.query("T")),
    failure<ConnectionLostError>(connection.query("SELECT 1")),
  ]);
  assert.deepEqual([first.sent, second.sent], [true, false]);
  server.onCommand = (received) => received.command === "UNKNOWN" ? "reset" : usualAnswer(received);
  const other = await connectMysql(settings(server));
  const prepared = await failure<ConnectionLostError>(other.execute("INSERT INTO t VALUES (?)", [1]));
  assert.deepEqual([prepared instanceof ConnectionLostError, prepared.sent], [true, false]);
});

Deno.test("an unasked error 4031, a FIN, an RST and an unasked answer end an idle connection at once", async () => {
  await using server = await startFakeMysql();
  const ways = [
    (i: number) => server.connections[i]!.timeOut(),
    (i: number) => server.connections[i]!.send("end"),
    (i: number) => server.connections[i]!.send("reset"),
    (i: number) => server.connections[i]!.send("ok", 1),
  ];
  for (const [i, way] of ways.entries()) {
    const connection = await connectMysql(settings(server));
    const commands = server.connections[i]!.commands.length;
    way(i);
    const why = await connection.closed;
    if (i === 0) assert.equal((why as { errno?: number }).errno, 4031);
    await noSockets(server);
    assert.equal(server.connections[i]!.commands.length, commands, "nothing was sent to find out");
    assert.equal((await failure<ConnectionLostError>(connection.ping())).sent, false);
  }
});

Deno.test("a command without an answer is given up after its limit, with its connection: a late answer reaches nobody", async () => {
  await using server = await startFakeMysql();
  const late = Promise.withResolvers<Answer>();
  answering(server, "SLOW", () => late.promise);
  const connection = await connectMysql(settings(server, { commandTimeoutMs: 100 }));
  const error = await failure<CommandTimeoutError>(connection.query("SLOW"));
  assert.ok(error instanceof CommandTimeoutError);
  assert.deepEqual([error.sent, connection.inFlight], [true, 0]);
  late.resolve("ok");
  assert.ok(await failure(connection.query("SELECT 1")) instanceof ConnectionLostError);
  await noSockets(server);
});

Deno.test("a server's error leaves the connection as it is, unless it says that the connection is lost", async () => {
  await using server = await startFakeMysql();
  answering(server, "BAD", () => ({ errno: 1064, message: "syntax" }));
  const connection = await connectMysql(settings(server));
  assert.equal((await failure<{ errno: number }>(connection.query("BAD"))).errno, 1064);
  assert.deepEqual(await connection.query("SELECT 1"), [{ 1: 1 }]);
  await connection.close();
});

Deno.test("whether a transaction is open is what the server said last, after rows as well as after OK", async () => {
  await using server = await startFakeMysql();
  const open = { inTransaction: true };
  server.onCommand = (received) => {
    if (received.sql === "CALL p()") return open;
    if (received.sql === "SELECT 1 FOR UPDATE") return { columns: ["1"], rows: [["\0"], [null]], ...open };
    if (received.sql === "BAD") return { errno: 1064, message: "syntax" };
    return usualAnswer(received);
  };
  const connection = await connectMysql(settings(server));
  const after = async (sql: string) => {
    await connection.query(sql).catch(() => {});
    return connection.inTransaction;
  };
  assert.equal(await after("CALL p()"), true);
  assert.equal(await after("BAD"), true, "an error says nothing of it");
  assert.equal(await after("SELECT 1"), false);
  assert.equal(await after("SELECT 1 FOR UPDATE"), true);
  await connection.ping();
  assert.equal(connection.inTransaction, false);
  await connection.close();
});

Deno.test("close says goodbye and waits for the server to close; destroy does not", async () => {
  await using server = await startFakeMysql();
  const connection = await connectMysql(settings(server));
  await connection.close();
  assert.equal(server.connections[0]!.commands.at(-1)!.command, "QUIT");
  await noSockets(server);
  const other = await connectMysql(settings(server));
  other.destroy();
  await other.closed;
  await noSockets(server);
  assert.notEqual(server.connections[1]!.commands.at(-1)!.command, "QUIT");
});

Deno.test("a server that asks for a file gets none", async () => {
  await using server = await startFakeMysql();
  const asked = new Uint8Array([0xfb, ...new TextEncoder().encode("/etc/passwd")]);
  answering(server, "LOAD", () => packets(1, asked));
  const connection = await connectMysql(settings(server, { commandTimeoutMs: 200 }));
  const seen: number[] = [];
  const { connections } = server;
  await failure(connection.query("LOAD DATA LOCAL INFILE 'x' INTO TABLE t"));
  for (const { command, sql } of connections[0]!.commands) if (command === "UNKNOWN") seen.push(sql.length);
  assert.deepEqual(seen, [0], "an empty packet, which means no file");
});

Deno.test("a password is asked for at each connect", async () => {
  await using server = await startFakeMysql();
  let asked = 0;
  const password = () => Promise.resolve(`secret ${++asked}`);
  for (let i = 0; i < 2; i++) await (await connectMysql(settings(server, { password }))).close();
  assert.equal(asked, 2);
  const error = new Error("the file is gone");
  assert.equal(
    await failure(connectMysql(settings(server, { password: () => Promise.reject(error) }))),
    error,
  );
  assert.equal(server.connections.length, 2);
});

/** Closes it, and waits until no server has a socket. */
async function closed(connection: MysqlConnection, ...servers: FakeMysql[]): Promise<void> {
  await connection.close();
  for (const server of servers) await noSockets(server);
}

/** As usual, with these server variables. */
function variablesOf(received: Received, given: Record<string, string | number>): Answer {
  return received.sql.startsWith("SELECT @@") ? variables(received.sql, given) : usualAnswer(received);
}

Deno.test("of several servers the first that lets us in and takes writes is taken, and no other keeps a socket", async () => {
  await using one = await startFakeMysql();
  await using two = await startFakeMysql();
  await using three = await startFakeMysql();
  const hosts = [two, three].map(({ port }) => ({ host: "127.0.0.1", port }));
  const connect = () => connectMysql(settings(one, { hosts, connectTimeoutMs: 600 }));
  const readOnly = (server: FakeMysql, on: boolean) => {
    server.onCommand = (received) => variablesOf(received, { "@@global.read_only": on ? 1 : 0 });
  };
  const first = await connect();
  assert.equal(first.server, `127.0.0.1:${one.port}`);
  await closed(first, one, two, three);

  one.onConnect = () => "hang";
  readOnly(two, true);
  const writable = await connect();
  assert.equal(writable.server, `127.0.0.1:${three.port}`);
  await waitFor(() => one.sockets + two.sockets === 0, { what: "the others to be left" });
  await closed(writable, one, two, three);

  await three.refuse();
  const best = await connect();
  assert.deepEqual([best.server, best.readOnly], [`127.0.0.1:${two.port}`, true], "better than none");
  await closed(best, one, two, three);

  await two.refuse();
  const error = await failure<Error & { code: string }>(connect());
  assert.equal(error.code, "ETIMEDOUT");
  for (const { port } of [one, two, three]) assert.match(error.message, new RegExp(`127.0.0.1:${port}: `));
  await noSockets(one);
});

Deno.test("an abort while a further server is tried leaves no socket at any", async () => {
  await using one = await startFakeMysql();
  await using two = await startFakeMysql();
  one.onCommand = (received) => variablesOf(received, { "@@global.read_only": "ON" });
  two.onLogin = () => "hang";
  const stop = new AbortController();
  const hosts = [{ host: "127.0.0.1", port: two.port }];
  const end = failure(connectMysql(settings(one, { hosts, signal: stop.signal })));
  await waitFor(() => two.connections[0]?.login, { what: "the second server to be tried" });
  const reason = new Error("enough");
  stop.abort(reason);
  assert.equal(await end, reason);
  await noSockets(one);
  await noSockets(two);
});
