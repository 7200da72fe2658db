/**
 * The fake MySQL server is taken for a real one by mysql2, and fails on command.
 */
import assert from "node:assert/strict";
import { type Connection, createConnection, type ResultSetHeader } from "mysql2/promise";
import { type FakeMysql, startFakeMysql, usualAnswer } from "./fake_mysql.ts";
import { waitFor } from "./wait_for.ts";

async function logIn(server: FakeMysql): Promise<Connection> {
  const connection = await createConnection({ uri: server.url(), connectTimeout: 5000 });
  connection.on("error", () => {});
  return connection;
}

async function failure(
  promise: Promise<unknown>,
): Promise<{ code?: string; errno?: number; message: string }> {
  try {
    await promise;
  } catch (error) {
    return error as { code?: string; errno?: number; message: string };
  }
  throw new Error("it did not fail");
}

Deno.test("mysql2 logs in, queries, and gets rows, figures and errors as scripted", async () => {
  await using server = await startFakeMysql();
  server.onCommand = (received) => {
    if (received.sql.startsWith("INSERT")) return { affectedRows: 300, insertId: 70_000, warnings: 1 };
    if (received.sql.startsWith("BAD")) return { errno: 1064, message: "no", sqlState: "42000" };
    if (received.sql.startsWith("SHOW")) {
      return { columns: ["name", "n", "x"], rows: [["grüße", 1, 1.5], [null, 2, null]] };
    }
    return usualAnswer(received);
  };
  const connection = await logIn(server);
  assert.deepEqual((await connection.query("SELECT 1"))[0], [{ "1": 1 }]);
  assert.deepEqual((await connection.query("SHOW it"))[0], [{ name: "grüße", n: 1, x: 1.5 }, {
    name: null,
    n: 2,
    x: null,
  }]);
  const [result] = await connection.query<ResultSetHeader>("INSERT INTO t VALUES (?)", ["x".repeat(100_000)]);
  assert.deepEqual([result.affectedRows, result.insertId, result.warningStatus], [300, 70_000, 1]);
  const error = await failure(connection.query("BAD"));
  assert.equal(error.errno, 1064);
  await connection.ping();
  await connection.end();
  await waitFor(() => server.sockets === 0, { what: "the socket to close" });
  const [seen] = server.connections;
  assert.deepEqual(seen!.login, { user: "sluice", database: "home" });
  assert.deepEqual(seen!.commands.map(({ command }) => command), [
    "QUERY",
    "QUERY",
    "QUERY",
    "QUERY",
    "PING",
    "QUIT",
  ]);
});

Deno.test("it refuses at the door, in the greeting and at the login", async () => {
  await using server = await startFakeMysql();
  await server.refuse();
  assert.equal((await failure(logIn(server))).code, "ECONNREFUSED");
  await server.refuse(false);
  server.onConnect = () => ({ errno: 1040, message: "Too many connections", sqlState: "08004" });
  assert.equal((await failure(logIn(server))).errno, 1040);
  server.onConnect = () => "end";
  assert.equal((await failure(logIn(server))).code, "PROTOCOL_CONNECTION_LOST");
  server.onConnect = () => "reset";
  assert.equal((await failure(logIn(server))).code, "ECONNRESET");
  server.onConnect = () => "ok";
  server.onLogin = () => ({ errno: 1045, message: "Access denied", sqlState: "28000" });
  assert.equal((await failure(logIn(server))).errno, 1045);
  server.onLogin = () => "ok";
  await (await logIn(server)).end();
  assert.equal(server.connections.length, 5);
});

Deno.test("it is silent before the greeting until it is told otherwise", async () => {
  await using server = await startFakeMysql();
  const { promise: later, resolve: greet } = Promise.withResolvers<"ok">();
  server.onConnect = () => later;
  const login = logIn(server);
  await waitFor(() => server.sockets === 1, { what: "the connection" });
  assert.equal(server.connections[0]!.login, undefined);
  greet("ok");
  await (await login).end();
});

Deno.test("answers go out when they are ready, and an unasked ERR 4031 ends an idle connection", async () => {
  await using server = await startFakeMysql();
  const { promise: slow, resolve: answerSlow } = Promise.withResolvers<"ok">();
  server.onCommand = (received) => received.sql === "SLOW" ? slow : usualAnswer(received);
  const [one, two] = [await logIn(server), await logIn(server)];
  const waiting = one.query("SLOW");
  await two.query("FAST");
  assert.equal(server.ready.length, 2);
  answerSlow("ok");
  await waiting;
  const lost = new Promise<{ code?: string }>((resolve) => two.on("error", resolve));
  server.connections[1]!.timeOut();
  assert.ok(await lost);
  server.connections[0]!.send("reset");
  await waitFor(() => server.sockets === 0, { what: "both sockets to close" });
  one.destroy();
  two.destroy();
});
