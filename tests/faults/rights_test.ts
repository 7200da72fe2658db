/**
 * What the gateway may do changes: a grant, its password, the server's certificate. Row 42 of the fault catalogue. Who is
 * refused at the door does not knock again for half a minute, so that all of that is tried at the same time.
 */
import assert from "node:assert/strict";
import type { Flavour } from "../servers/database.ts";
import { makeCertificates } from "../servers/certificates.ts";
import { databases, eachDatabase, START, testWith, withAllDatabases } from "../servers/needs.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";
import { Stage } from "./stage.ts";

const shared = sharedDatabases();

/** Rights table by table, of which one is taken away. */
async function revoked(flavour: Flavour): Promise<void> {
  const server = shared[flavour];
  const user = `limited_${crypto.randomUUID().slice(0, 8)}`;
  await server.admin(`CREATE USER ${user}@'%' IDENTIFIED BY 'secret'`);
  await using stage = await Stage.start({
    flavour,
    server,
    user: `${user}:secret`,
    tables: { a: "note varchar(4)", b: "note varchar(4)", c: "note varchar(4)" },
    // It has no right to make a table, nor needs one.
    grants: [
      "SELECT, INSERT, UPDATE, CREATE ON t.sluice_ledger",
      "INSERT ON t.a",
      "INSERT ON t.b",
      "INSERT (id) ON t.c",
    ],
  });
  stage.stream();
  // `c` may be written in part only.
  assert.match(await stage.stalled("c"), /INSERT command denied.*\(error 1143\)/);
  for (const what of ["INSERT ON t.a", "SELECT ON t.sluice_ledger"]) {
    await stage.flowing();
    await stage.admin(`REVOKE ${what} FROM ${user}@'%'`);
    const reason = await stage.stalled("a");
    assert.match(reason, /command denied.*\(error 1142\)/);
    const { totals } = await stage.sluice.status();
    assert.equal(totals.dead, 0);
    if (what === "INSERT ON t.a") {
      await stage.sluice.until("the other lane to go on", (it) => it.totals.stored >= totals.stored + 50);
    }
    await stage.admin(`GRANT ${what} TO ${user}@'%'`);
    await stage.sluice.until(
      "the lane to go on",
      ({ lanes }) => lanes.a.state === "ok" && lanes.b.state === "ok",
    );
  }
  await stage.admin(`GRANT INSERT ON t.c TO ${user}@'%'`);
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
  await server.admin(`DROP USER ${user}@'%'`);
}

/** The password is changed on the server, and then in the secret's file; there is no restart. */
async function newPassword(flavour: Flavour): Promise<void> {
  const server = shared[flavour];
  const user = `changing_${crypto.randomUUID().slice(0, 8)}`;
  const file = await Deno.makeTempFile({ prefix: "sluice-password-" });
  await Deno.writeTextFile(file, "first\n");
  await server.admin(`CREATE USER ${user}@'%' IDENTIFIED BY 'first'`);
  await using stage = await Stage.start({
    flavour,
    server,
    user,
    grants: ["ALL PRIVILEGES ON t.*"],
    config: { password: { file } },
  });
  stage.stream();
  await stage.flowing();
  await server.admin(`ALTER USER ${user}@'%' IDENTIFIED BY 'second'`);
  for (const id of await stage.threads(user)) await server.admin(`KILL ${id}`).catch(() => {});
  await stage.sluice.until(
    "it to be told why",
    ({ sentence }) => /Access denied for user.*\(error 1045\)/.test(sentence ?? ""),
  );
  await Deno.writeTextFile(file, "second\n");
  await stage.flowing(200);
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
  assert.doesNotMatch(stage.sluice.output, /first|second/);
  await Deno.remove(file);
  await server.admin(`DROP USER ${user}@'%'`);
}

/** The server gets a certificate of another authority, and then the gateway that authority's. */
async function newCertificate(flavour: Flavour): Promise<void> {
  await using server = await START[flavour]({ tls: true });
  const { ca, serverCert, serverKey } = server.tls!;
  const dir = await Deno.makeTempDir({ prefix: "sluice-authority-" });
  await Deno.copyFile(ca, `${dir}/trusted.pem`);
  await using stage = await Stage.start({
    flavour,
    server,
    config: { tls: { ca: `${dir}/trusted.pem` } },
  });
  stage.stream();
  await stage.flowing();
  const later = await makeCertificates(dir);
  await Deno.copyFile(later.ca, ca);
  await Deno.copyFile(later.serverCert, serverCert);
  await Deno.copyFile(later.serverKey, serverKey);
  await server.admin(flavour === "mariadb" ? "FLUSH SSL" : "ALTER INSTANCE RELOAD TLS");
  for (const id of await stage.threads()) await server.admin(`KILL ${id}`).catch(() => {});
  await stage.sluice.until("it to be told why", ({ sentence }) => /certificate/i.test(sentence ?? ""));
  await Deno.copyFile(later.ca, `${dir}/trusted.pem`);
  await stage.flowing(200);
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
  await Deno.remove(dir, { recursive: true });
}

eachDatabase((flavour) => {
  testWith(
    ["mosquitto", flavour],
    `42: a grant that ${flavour} has revoked holds up the lane that needs it`,
    () => revoked(flavour),
  );
});
testWith(
  ["mosquitto", ...databases()],
  "42: a new password in server and secret's file, and a new certificate and authority, take no restart",
  () =>
    withAllDatabases(async (flavour) => {
      await Promise.all([newPassword(flavour), newCertificate(flavour)]);
    }),
);
