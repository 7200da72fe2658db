/**
 * Logging in to real servers: passwords in the clear network and under TLS, certificates of an authority of one's own,
 * names and addresses in them, unix sockets, and every way to be refused.
 */
import assert from "node:assert/strict";
import { poolClass } from "../../src/mysql/classify.ts";
import { connectMysql, type MysqlSettings, type MysqlTls } from "../../src/mysql/connect.ts";
import type { Database } from "../servers/database.ts";
import { eachDatabase, START, testWith } from "../servers/needs.ts";

type More = Partial<Omit<MysqlSettings, "tls">> & { tls?: MysqlTls };

function connect(database: Database, { tls, ...more }: More = {}) {
  return connectMysql({
    host: "127.0.0.1",
    port: database.port,
    user: "sluice",
    database: "home",
    password: "secret",
    ...(tls ? { tls: () => Promise.resolve(tls) } : {}),
    ...more,
  });
}

/** Which cipher the session runs under; empty without TLS. */
async function cipher(database: Database, more: More = {}): Promise<string> {
  const connection = await connect(database, more);
  const [{ Value }] = await connection.query("SHOW STATUS LIKE 'Ssl_cipher'");
  await connection.close();
  return Value;
}

async function refused(database: Database, more: More): Promise<Error & { errno?: number; code?: string }> {
  try {
    await (await connect(database, more)).close();
  } catch (error) {
    return error as Error;
  }
  throw new Error("it was let in");
}

eachDatabase((flavour, start) => {
  testWith(
    [flavour],
    `${flavour} under TLS is believed only with its certificate, for its name or its address`,
    async (t) => {
      await using database = await start({ tls: true, args: ["--bind-address=0.0.0.0"] });
      const ca = await Deno.readTextFile(database.tls!.ca);
      const cert = await Deno.readTextFile(database.tls!.clientCert);
      const key = await Deno.readTextFile(database.tls!.clientKey);
      // 127.0.0.2 is this machine too, and not in the certificate.
      const elsewhere = "127.0.0.2";
      await t.step("by name, by address and over the unix socket", async () => {
        for (const host of ["localhost", "127.0.0.1", database.socket]) {
          assert.match(await cipher(database, { host, tls: { ca } }), /^TLS_/, host);
        }
      });
      await t.step("not under an address, nor under a name, that it does not bear", async () => {
        for (const host of [elsewhere, Deno.hostname()]) {
          const error = await refused(database, { host, tls: { ca } });
          assert.match(error.message, /does not match certificate's altnames/, host);
          assert.equal(poolClass(error), "permanent");
        }
      });
      await t.step("not by an authority that we do not know", async () => {
        const error = await refused(database, { tls: {} });
        assert.match(error.message, /certificate/);
        assert.equal(poolClass(error), "permanent");
      });
      await t.step("all the same where that is not asked for", async () => {
        assert.match(await cipher(database, { host: elsewhere, tls: { verify: false } }), /^TLS_/);
      });
      await t.step("a user who must show a certificate is let in with one", async () => {
        await database.admin("CREATE USER shown@'%' IDENTIFIED BY 'secret' REQUIRE X509");
        await database.admin("GRANT ALL PRIVILEGES ON home.* TO shown@'%'");
        assert.match(await cipher(database, { user: "shown", tls: { ca, cert, key } }), /^TLS_/);
        for (const tls of [undefined, { ca }]) {
          assert.equal((await refused(database, { user: "shown", tls })).errno, 1045);
        }
      });
      await t.step("the end of a connection is noticed under TLS as without", async () => {
        const connection = await connect(database, { tls: { ca } });
        await database.admin(`KILL ${connection.id}`);
        await connection.closed;
      });
    },
  );
});

eachDatabase((flavour, start) => {
  testWith([flavour], `${flavour} without TLS: every way in, and every way to be refused`, async (t) => {
    await using database = await start();
    await t.step("over the network and the unix socket, with a password as text or asked for", async () => {
      assert.equal(await cipher(database), "");
      assert.equal(await cipher(database, { host: database.socket }), "");
      assert.equal(await cipher(database, { password: () => Promise.resolve("secret") }), "");
    });
    await t.step("wrong password, no password, no such user, no such database", async () => {
      for (const more of [{ password: "wrong" }, { password: undefined }, { user: "nobody" }]) {
        const error = await refused(database, more);
        assert.deepEqual([error.errno, poolClass(error)], [1045, "permanent"]);
      }
      await database.admin("GRANT SELECT ON *.* TO sluice@'%'");
      const error = await refused(database, { database: "missing" });
      assert.deepEqual([error.errno, poolClass(error)], [1049, "permanent"]);
    });
    await t.step("a locked account", async () => {
      await database.admin("CREATE USER locked@'%' IDENTIFIED BY 'secret' ACCOUNT LOCK");
      const error = await refused(database, { user: "locked" });
      assert.deepEqual([error.errno, poolClass(error)], [flavour === "mysql" ? 3118 : 4151, "permanent"]);
    });
    await t.step("no more connections than the user may have", async () => {
      await database.admin("CREATE USER single@'%' IDENTIFIED BY 'secret' WITH MAX_USER_CONNECTIONS 1");
      await database.admin("GRANT ALL PRIVILEGES ON home.* TO single@'%'");
      const connection = await connect(database, { user: "single" });
      const error = await refused(database, { user: "single" });
      assert.deepEqual([error.errno, poolClass(error)], [1226, "busy"]);
      await connection.close();
    });
  });
});

testWith(
  ["mysql"],
  "caching_sha2_password lets us in when the server has seen the password before, and when it has not",
  async () => {
    await using database = await START.mysql({ tls: true });
    const ca = await Deno.readTextFile(database.tls!.ca);
    const [{ plugin }] = await database.admin("SELECT plugin FROM mysql.user WHERE user = 'sluice'");
    assert.equal(plugin, "caching_sha2_password");
    for (const more of [{}, { tls: { ca } }, { host: database.socket }]) {
      // It forgets what it has seen: the password itself is asked for, encrypted with the server's key or by TLS.
      await database.admin("FLUSH PRIVILEGES");
      for (const seen of [false, true]) {
        await (await connect(database, more)).close();
        assert.equal((await refused(database, { ...more, password: "wrong" })).errno, 1045, `seen: ${seen}`);
      }
    }
  },
);
