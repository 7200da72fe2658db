/**
 * The database is there and takes no rows: it has no room for another connection, is read-only, has handed over to
 * another server, or is frozen while somebody connects. Rows 33, 36 and 37 of the fault catalogue.
 */
import assert from "node:assert/strict";
import type { Flavour } from "../servers/database.ts";
import { databases, eachDatabase, testWith, withAllDatabases } from "../servers/needs.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Stage } from "./stage.ts";

const CONNECTIONS_MAX = 12;
const shared = sharedDatabases({ args: [`--max-connections=${CONNECTIONS_MAX}`] });

/** Every place is taken by others while the gateway is cut off; then they go. */
async function full(flavour: Flavour): Promise<void> {
  const server = shared[flavour];
  await using stage = await Stage.start({ flavour, server });
  stage.stream();
  await stage.flowing();
  await using others = new AsyncDisposableStack();
  // The last place is root's.
  const taken = async () =>
    Number((await stage.admin("SHOW GLOBAL STATUS LIKE 'Threads_connected'"))[0].Value);
  await waitFor(async () => {
    // Whoever is quicker has the places; so again and again, until it was not the gateway.
    stage.near.cut();
    while (await taken() <= CONNECTIONS_MAX) {
      const session = await stage.session("sluice:secret").catch(() => null);
      if (!session) break;
      others.use(session);
    }
    const { sentence } = await stage.sluice.status();
    return /too many connections.*\(error 1040\)/i.test(sentence ?? "");
  }, { what: "the gateway to find no place", timeoutMs: 60_000, intervalMs: 500 });
  const { spool } = await stage.sluice.status();
  await stage.send(50);
  await stage.sluice.until("the messages to wait", (it) => it.spool.entries >= spool.entries + 50);
  await others.disposeAsync();
  await stage.flowing(200);
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
}

/** Read-only in each way that the server has, with messages that it would refuse among the others. */
async function readOnly(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour, server: shared[flavour] });
  stage.stream();
  const ways = flavour === "mariadb" ? ["read_only"] : ["read_only", "super_read_only"];
  for (const way of ways) {
    await stage.flowing();
    await stage.admin(`SET GLOBAL ${way} = 1`);
    await stage.sluice.until(
      "it to be noticed",
      ({ sentence }) => /does not take rows: .*read.only.*\(error 1290\)/i.test(sentence ?? ""),
    );
    const { totals } = await stage.sluice.status();
    await stage.publish("a", [{ id: `long ${way}`, note: "too long", fate: "refused" }]);
    await stage.send(50);
    await stage.sluice.until("the messages to wait", (it) => it.totals.pending > totals.pending + 50);
    assert.equal((await stage.sluice.status()).totals.dead, totals.dead);
    const ready = await fetch(`${stage.sluice.statusUrl}/readyz`);
    assert.equal(ready.status, 503);
    await ready.body?.cancel();
    for (const it of ways) await stage.admin(`SET GLOBAL ${it} = 0`);
  }
  await stage.flowing();
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, ways.length);
}

/** The session itself may not write, whatever the server may. */
async function readOnlyTransactions(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour, server: shared[flavour] });
  const name = flavour === "mariadb" ? "tx_read_only" : "transaction_read_only";
  stage.stream();
  await stage.flowing();
  await stage.admin(`SET GLOBAL ${name} = 1`);
  for (const id of await stage.threads()) await stage.admin(`KILL ${id}`).catch(() => {});
  await stage.sluice.until("it to be noticed", (it) => !it.database.reachable);
  await stage.admin(`SET GLOBAL ${name} = 0`);
  await stage.flowing();
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
}

/** Frozen while nobody is connected: the kernel accepts for it, and nobody says hello. */
async function frozenBefore(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour, database: {} });
  await stage.begin();
  await stage.sluice.stop();
  await stage.database.kill("SIGSTOP");
  await stage.sluice.start();
  await stage.sluice.until("the broker to be connected", (it) => it.broker.connected);
  const before = descriptors(stage.sluice.pid);
  await stage.send(50);
  await stage.sluice.until(
    "two tries to end",
    ({ pool }) => (pool as unknown as { totals: { connect_failed: number } }).totals.connect_failed >= 2,
  );
  assert.ok(descriptors(stage.sluice.pid) <= before + 8);
  await stage.database.kill("SIGCONT");
  await stage.settle();
}

/** Counts what the gateway has open. */
function descriptors(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

testWith(
  ["mosquitto", ...databases()],
  "33: a gateway that starts while its database is frozen waits for it, and leaves no descriptor open",
  () => withAllDatabases(frozenBefore),
);

eachDatabase((flavour) => {
  const needs = ["mosquitto", flavour] as const;
  testWith(
    needs,
    `36: when ${flavour} has no connection left, messages wait and then flow`,
    () => full(flavour),
  );
  testWith(
    needs,
    `37: while ${flavour} is read-only nothing is stored and nothing is a dead letter`,
    () => readOnly(flavour),
  );
  testWith(
    needs,
    `37: sessions of ${flavour} that may only read are done with as soon as others can be had`,
    () => readOnlyTransactions(flavour),
  );
});
