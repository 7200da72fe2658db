/**
 * The pool over the wire: real sockets to a server that does what a test says, which counts its sockets and keeps what
 * each connection has sent. The numbers are those of the list of what an ideal pool does.
 */
import assert from "node:assert/strict";
import { CommandTimeoutError, connectMysql } from "../../src/mysql/connect.ts";
import {
  ConnectError,
  ConnectionLostError,
  Pool,
  PoolClosedError,
  PoolTimeoutError,
} from "../../src/pool/mod.ts";
import { type Answer, FakeMysql, type Received, startFakeMysql, usualAnswer } from "../servers/fake_mysql.ts";
import { waitFor } from "../servers/wait_for.ts";
import { answering, failure, fill, openWire } from "./wire.ts";

const isPing = ({ command }: Received) => command === "PING";
const commandsOf = (server: FakeMysql) => server.connections.map(({ commands }) => commands.length);

for (const way of ["FIN", "RST", "4031"] as const) {
  Deno.test(`4: ${way} on an idle connection is noticed at once, and nothing is sent for that`, async () => {
    await using wire = await openWire({ size: 3 });
    const { server, pool } = wire;
    await fill(pool, 3);
    const before = commandsOf(server);
    const [first] = server.connections;
    if (way === "4031") first!.timeOut();
    else first!.send(way === "FIN" ? "end" : "reset");
    await waitFor(() => pool.stats.idle === 2, { what: "the pool to notice" });
    assert.equal(pool.stats.totals.closed.dead, 1);
    assert.equal(pool.stats.generation, 0, "one is no outage");
    assert.deepEqual(commandsOf(server), before);
    await wire.counted();
    const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
    assert.ok(leases.every(({ connection }) => connection.id !== 1));
    for (const lease of leases) await lease.release();
  });
}

Deno.test("2: behind a black hole the ping's limit is all that is lost, and a late answer is nobody's", async () => {
  await using wire = await openWire({ size: 2, prePing: { timeout: 0.1 }, timeout: 20 });
  const { server, pool } = wire;
  await fill(pool, 2);
  const late = Promise.withResolvers<Answer>();
  server.onCommand = (received, connection) =>
    connection.number <= 2 && isPing(received) ? late.promise : usualAnswer(received);
  const lease = await pool.acquire();
  assert.equal(lease.connection.id, 3);
  assert.deepEqual([pool.stats.totals.closed.ping, pool.stats.totals.closed.invalidated], [1, 1]);
  late.resolve({ columns: ["x"], rows: [["of another"]] });
  assert.deepEqual(await lease.connection.query("SELECT 1"), [{ 1: 1 }]);
  await lease.release();
  await wire.counted();
});

Deno.test("3: answers out of order end a connection, at a ping as at a statement", async () => {
  await using wire = await openWire({ size: 1, maxOverflow: 0 });
  const { server, pool } = wire;
  await fill(pool, 1);
  // The ping of the pool is answered with another's rows; then a statement with what nobody asked for.
  server.onCommand = (received, connection) => {
    if (connection.number === 1 && isPing(received)) connection.send("ok", 7);
    return usualAnswer(received);
  };
  const lease = await pool.acquire();
  assert.equal(lease.connection.id, 2);
  answering(server, ({ sql }) => sql === "T", () => {
    server.connections[1]!.send("ok", 5);
    return "hang";
  });
  const error = await failure<ConnectionLostError>(lease.connection.query("T"));
  assert.match(error.message, /packet 5 came where 1 was due/);
  await lease.release();
  assert.equal(pool.stats.idle, 0);
  await wire.counted();
});

Deno.test("8, 26: an abort in the line, while connecting and while pinging leaves no socket behind", async (t) => {
  const reason = new Error("enough");
  await t.step("in the line", async () => {
    await using wire = await openWire({ size: 1, maxOverflow: 0 });
    const lease = await wire.pool.acquire();
    const stop = new AbortController();
    const end = failure(wire.pool.acquire({ signal: stop.signal }));
    stop.abort(reason);
    assert.equal(await end, reason);
    await lease.release();
    assert.equal(wire.pool.stats.idle, 1);
    await wire.counted();
  });
  await t.step("while connecting: the attempt goes on, and what it brings is kept", async () => {
    await using wire = await openWire({ size: 1, maxOverflow: 0 });
    const greet = Promise.withResolvers<Answer>();
    wire.server.onConnect = () => greet.promise;
    const stop = new AbortController();
    const end = failure(wire.pool.acquire({ signal: stop.signal }));
    await waitFor(() => wire.server.sockets === 1, { what: "the attempt" });
    stop.abort(reason);
    assert.equal(await end, reason);
    await wire.counted();
    greet.resolve("ok");
    await waitFor(() => wire.pool.stats.idle === 1, { what: "the connection to be kept" });
    await wire.counted();
  });
  await t.step("while pinging: the socket goes, since its answer may still come", async () => {
    await using wire = await openWire({ size: 1, maxOverflow: 0, prePing: { timeout: 20 } });
    await fill(wire.pool, 1);
    answering(wire.server, isPing, () => "hang");
    const stop = new AbortController();
    const end = failure(wire.pool.acquire({ signal: stop.signal }));
    await waitFor(() => isPing(wire.server.connections[0]!.commands.at(-1)!), { what: "the ping" });
    stop.abort(reason);
    assert.equal(await end, reason);
    assert.equal(wire.pool.stats.leased + wire.pool.stats.idle, 0);
    await wire.counted();
    assert.equal(wire.server.sockets, 0);
  });
});

Deno.test("1: a greeting that hangs takes no longer than the acquire may, and the socket no longer than the connect", async () => {
  await using wire = await openWire({ timeout: 0.1, connectTimeout: 0.3 });
  wire.server.onConnect = () => "hang";
  const error = await failure<PoolTimeoutError>(wire.pool.acquire());
  assert.ok(error instanceof PoolTimeoutError);
  assert.equal(error.where, "connect");
  assert.match(error.message, /size 5, limit 15: 0 idle, 0 leased, 1 connecting/);
  await wire.counted();
  await waitFor(() => wire.pool.stats.connecting === 0, { what: "the attempt to be given up" });
  await wire.counted();
  assert.equal(wire.server.sockets, 0);
});

Deno.test("7, 20: a wrong password, no database and a blocked host fail all at once, and are not tried in a loop", async () => {
  for (const [errno, atTheDoor] of [[1045, false], [1049, false], [1129, true]] as const) {
    await using wire = await openWire({ size: 20, timeout: 20 });
    const { server, pool } = wire;
    const refusal = { errno, message: "no", sqlState: "HY000" };
    if (atTheDoor) server.onConnect = () => refusal;
    else server.onLogin = () => refusal;
    const all = await Promise.all(Array.from({ length: 20 }, () => failure<ConnectError>(pool.acquire())));
    for (const error of all) {
      assert.ok(error instanceof ConnectError);
      assert.equal((error.cause as { errno: number }).errno, errno);
    }
    assert.ok(server.connections.length <= 4, `${server.connections.length} tries`);
    await wire.counted();
  }
});

Deno.test("20: a server that is full lets those wait who may yet be served by a lease that comes back", async () => {
  await using wire = await openWire({ size: 5, timeout: 20 });
  const { server, pool } = wire;
  const lease = await pool.acquire();
  server.onConnect = () => ({ errno: 1040, message: "Too many connections", sqlState: "08004" });
  const waiter = pool.acquire();
  await waitFor(() => pool.stats.totals.connectFailed > 1, { what: "two refusals" });
  assert.equal(pool.stats.waiting, 1);
  await lease.release();
  assert.equal((await waiter).connection.id, 1);
  await (await waiter).release();
  await wire.counted();
});

Deno.test("19: a statement that got no answer in time is not repeated, and its connection is used no more", async () => {
  await using wire = await openWire({ size: 1, maxOverflow: 0, commandTimeoutMs: 100 });
  const { server, pool } = wire;
  const late = Promise.withResolvers<Answer>();
  answering(server, ({ sql }) => sql === "INSERT", () => late.promise);
  const error = await failure<CommandTimeoutError>(pool.use((connection) => connection.query("INSERT")));
  assert.ok(error instanceof CommandTimeoutError);
  assert.equal(error.sent, true);
  late.resolve("ok");
  const lease = await pool.acquire();
  assert.equal(lease.connection.id, 2);
  assert.deepEqual(await lease.connection.query("SELECT 1"), [{ 1: 1 }]);
  await lease.release();
  assert.equal(server.statements.filter((it) => it === "INSERT").length, 1);
});

Deno.test("19: what was not sent says so, also for a connection that died in somebody's hands", async () => {
  await using wire = await openWire({ size: 1, maxOverflow: 0 });
  const { server, pool } = wire;
  const lease = await pool.acquire();
  server.connections[0]!.timeOut();
  await lease.connection.closed;
  const error = await failure<ConnectionLostError>(lease.connection.query("INSERT"));
  assert.deepEqual([error instanceof ConnectionLostError, error.sent], [true, false]);
  await lease.release();
  assert.equal(pool.stats.totals.closed.dead, 1);
  await wire.counted();
});

Deno.test("11, 19: a connection lost under a statement goes to nobody, though it is given back before anyone looks", async () => {
  await using wire = await openWire({ size: 1, maxOverflow: 0, prePing: false });
  const { server, pool } = wire;
  answering(server, ({ sql }) => sql === "T", () => "reset");
  const first = failure(pool.use((connection) => connection.query("T")));
  const second = pool.use((connection) => connection.query("SELECT 1"));
  assert.ok(await first instanceof ConnectionLostError);
  assert.deepEqual(await second, [{ 1: 1 }]);
  await wire.counted();
});

Deno.test("17: a transaction that any statement opened is rolled back on return; without one nothing is sent", async () => {
  await using wire = await openWire({ size: 1, maxOverflow: 0, prePing: false });
  const { server, pool } = wire;
  const opening = ["SET autocommit = 0", "SELECT 1 FOR UPDATE", "CALL begins()"];
  server.onCommand = (received) => {
    if (received.sql === "SELECT 1 FOR UPDATE") return { columns: ["1"], rows: [[1]], inTransaction: true };
    return opening.includes(received.sql) ? { inTransaction: true } : usualAnswer(received);
  };
  await pool.use((connection) => connection.query("SELECT 1"));
  const [{ statements }] = server.connections;
  assert.equal(statements.at(-1), "SELECT 1");
  for (const sql of opening) {
    await pool.use((connection) => connection.query(sql));
    assert.deepEqual(server.connections[0]!.statements.slice(-2), [sql, "ROLLBACK"]);
  }
  assert.equal(pool.stats.idle, 1);
});

Deno.test("17: resetOnReturn full resets the connection and sets the session up again", async () => {
  await using wire = await openWire({ size: 1, maxOverflow: 0, prePing: false, resetOnReturn: "full" });
  const { server, pool } = wire;
  await pool.use((connection) => connection.query("SET @mine = 1"));
  const { commands, statements } = server.connections[0]!;
  assert.deepEqual(commands.slice(-3).map(({ command }) => command), ["RESET_CONNECTION", "QUERY", "QUERY"]);
  assert.match(statements.at(-1)!, /^SET SESSION sql_mode = /);
  answering(
    server,
    ({ command }) => command === "RESET_CONNECTION",
    () => ({ errno: 1047, message: "unknown" }),
  );
  await pool.use((connection) => connection.query("SELECT 1"));
  assert.deepEqual([pool.stats.idle, pool.stats.totals.closed.reset], [0, 1], "what cannot be reset goes");
  await wire.counted();
});

Deno.test("17: a connection with a statement under way is destroyed on return", async () => {
  await using wire = await openWire({ size: 1, maxOverflow: 0 });
  const { server, pool } = wire;
  answering(server, ({ sql }) => sql === "SLOW", () => "hang");
  const lease = await pool.acquire();
  const lost = failure<ConnectionLostError>(lease.connection.query("SLOW"));
  await lease.release();
  assert.equal((await lost).sent, true);
  assert.equal(pool.stats.totals.closed.reset, 1);
  await wire.counted();
});

Deno.test("20: a server that turns read-only takes all its connections with it", async () => {
  await using wire = await openWire({ size: 3 });
  const { server, pool } = wire;
  await fill(pool, 3);
  const message =
    "The MySQL server is running with the --read-only option so it cannot execute this statement";
  answering(server, ({ sql }) => sql === "INSERT", () => ({ errno: 1290, message }));
  const error = await failure<{ errno: number }>(pool.use((connection) => connection.query("INSERT")));
  assert.equal(error.errno, 1290);
  assert.deepEqual([pool.stats.idle, pool.stats.generation], [0, 1]);
  await wire.counted();
  assert.equal(server.sockets, 0);
});

Deno.test("21: close says goodbye to what is idle, ends a log-in that hangs, destroys what is still out", async () => {
  await using wire = await openWire({ size: 3, maxOverflow: 0 });
  const { server, pool } = wire;
  const [out, idle] = [await pool.acquire(), await pool.acquire()];
  answering(server, ({ sql }) => sql === "SLOW", () => "hang");
  const lost = failure<ConnectionLostError>(out.connection.query("SLOW"));
  server.onConnect = () => "hang";
  const stop = new AbortController();
  const third = failure(pool.acquire({ signal: stop.signal }));
  await waitFor(() => server.sockets === 3, { what: "the third to connect" });
  stop.abort();
  await third;
  await idle.release();
  await pool.close({ drain: 0.1 });
  assert.ok(await failure(pool.acquire()) instanceof PoolClosedError);
  assert.equal((await lost).sent, true);
  await wire.counted();
  assert.equal(server.sockets, 0);
  assert.deepEqual(
    server.connections.map(({ commands }) => commands.at(-1)?.sql || commands.at(-1)?.command),
    ["SLOW", "QUIT", undefined],
  );
});

Deno.test("22: after a soft invalidation each next use connects anew, with the password of that time", async () => {
  await using server = await startFakeMysql();
  const passwords: string[] = [];
  await using pool = new Pool({
    size: 2,
    connect: ({ signal }) =>
      connectMysql({
        host: "127.0.0.1",
        port: server.port,
        user: "sluice",
        database: "home",
        password: () => (passwords.push(`p${passwords.length + 1}`), Promise.resolve(passwords.at(-1))),
        signal,
      }),
  });
  const held = await pool.acquire();
  await fill(pool, 1);
  pool.invalidateAll({ soft: true });
  assert.equal(server.sockets, 2, "nothing is cut");
  await held.connection.query("SELECT 1");
  await held.release();
  await fill(pool, 1);
  assert.deepEqual(passwords, ["p1", "p2", "p3"]);
  await waitFor(() => server.sockets === 1, { what: "the old ones to be closed" });
});

Deno.test("8: in every pause of a busy time with faults the server counts the pool's sockets, which are never more than the limit", async () => {
  await using wire = await openWire({
    size: 3,
    maxOverflow: 2,
    timeout: 0.5,
    prePing: { timeout: 0.1 },
    resetTimeout: 0.2,
  });
  const { server, pool } = wire;
  let most = 0;
  const look = () => {
    const { idle, leased, connecting, closing } = pool.stats;
    most = Math.max(most, idle + leased + connecting + closing);
  };
  for (const type of ["connect", "acquire", "release", "close", "error"] as const) pool.on(type, look);
  let seed = 7;
  const random = (below: number) => (seed = seed * 48_271 % 2_147_483_647) % below;
  const trouble: (() => void)[] = [
    () => server.connections.find(({ state }) => state === "ready")?.send("reset"),
    () => server.connections.findLast(({ state }) => state === "ready")?.timeOut(),
    () => server.onConnect = () => random(2) ? "hang" : "reset",
    () => answering(server, isPing, () => random(2) ? "hang" : "ok"),
    () => pool.invalidateAll({ soft: random(2) === 0 }),
  ];
  for (let round = 0; round < 12; round++) {
    server.onConnect = () => "ok";
    server.onCommand = usualAnswer;
    const takers = Array.from({ length: 8 }, async () => {
      const signal = random(4) === 0 ? AbortSignal.timeout(random(20)) : undefined;
      await pool.use((connection) => connection.query("SELECT 1"), { signal }).catch(() => {});
    });
    trouble[random(trouble.length)]!();
    await Promise.all(takers);
    server.onConnect = () => "ok";
    await waitFor(() => pool.stats.connecting === 0, { what: "attempts to end" });
    await wire.counted();
  }
  assert.equal(most, 5);
  assert.equal(pool.stats.waiting, 0);
});

Deno.test("5: nothing but statements is sent while connections are used one after another", async () => {
  await using wire = await openWire({ size: 1, maxOverflow: 0, prePing: { idleOver: 60 } });
  const { server, pool } = wire;
  await fill(pool, 1);
  const before = server.connections[0]!.commands.length;
  for (let i = 0; i < 5; i++) await pool.use((connection) => connection.query("SELECT 1"));
  const after = server.connections[0]!.commands.slice(before);
  assert.deepEqual(after.map(({ sql }) => sql), Array(5).fill("SELECT 1"));
});
