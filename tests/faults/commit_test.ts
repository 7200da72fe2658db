/**
 * A COMMIT whose answer never comes: the database is killed, frozen or cut off at that very packet. Rows 31 to 34 of
 * the fault catalogue. Row 30 (killed at any time) is in `../e2e/outage_test.ts`, row 35 (`wait_timeout`) in
 * `../mysql/article_test.ts`.
 */
import assert from "node:assert/strict";
import type { Flavour } from "../servers/database.ts";
import { databases, eachDatabase, testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";
import { isCommit, Stage } from "./stage.ts";

/** Where the COMMIT is when the server dies. */
type Moment = "before it arrives" | "as it arrives" | "before its answer leaves";

/** Kills the server at the next COMMIT; resolves when it is gone. */
function killAtCommit({ far, database }: Stage, moment: Moment): Promise<void> {
  const gone = Promise.withResolvers<void>();
  let committing = 0;
  const kill = () => {
    far.onData = () => "drop";
    database.kill().then(gone.resolve, gone.reject);
    return "drop" as const;
  };
  far.onData = (direction, chunk, connection) => {
    if (direction === "down") return connection === committing ? kill() : "pass";
    if (!isCommit(chunk) || committing !== 0) return "pass";
    if (moment === "before it arrives") return kill();
    committing = connection;
    if (moment === "as it arrives") queueMicrotask(kill);
    return "pass";
  };
  return gone.promise.finally(() => far.onData = undefined);
}

async function killedAtCommit(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour });
  stage.stream();
  for (const moment of ["before it arrives", "as it arrives", "before its answer leaves"] as const) {
    await stage.flowing();
    await killAtCommit(stage, moment);
    stage.near.cut();
    await stage.sluice.until("the outage to be seen", (it) => !it.database.reachable);
    await stage.database.restart();
  }
  await stage.flowing();
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
}

/** Holds the next COMMIT of this stage at the far proxy. */
async function holdCommit({ far }: Stage): Promise<void> {
  let held = false;
  far.onData = (direction, chunk) => {
    if (direction === "down" || held || !isCommit(chunk)) return "pass";
    held = true;
    return "hold";
  };
  await waitFor(() => held, { what: "a COMMIT to be held" });
}

/** The gateway lives on: it ends the thread that holds the lock, and the late COMMIT finds nothing to commit. */
async function lateCommit(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour });
  stage.stream();
  for (let round = 0; round < 3; round++) {
    await stage.flowing();
    await holdCommit(stage);
    stage.near.cut();
    // Both lanes go on although the lock of one was never given back.
    await stage.flowing(200);
    stage.far.release();
  }
  await stage.flowing();
  await stage.settle();
}

/** The gateway dies: its successor does not know of the thread and waits at the ledger's row for what becomes of it. */
async function orphanedCommit(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour });
  await stage.send(10, ["a"]);
  await stage.sluice.until("them to be stored", (it) => it.totals.stored === 10);
  const held = holdCommit(stage);
  await stage.send(10, ["a"]);
  await held;
  await stage.sluice.kill("SIGKILL");
  await stage.sluice.start();
  await stage.lockWait();
  const before = await stage.sluice.status();
  assert.equal(before.totals.stored, 10);
  stage.far.release();
  await stage.settle();
}

/** Counts what the gateway has open. */
function descriptors(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

/** Frozen in the middle of statements; the kernel keeps the COMMITs for it. Takes as long as a command may. */
async function frozen(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour });
  stage.stream();
  await stage.flowing();
  const before = descriptors(stage.sluice.pid);
  await stage.database.kill("SIGSTOP");
  await stage.sluice.until("the outage to be seen", (it) => !it.database.reachable);
  await stage.database.kill("SIGCONT");
  await stage.flowing(500);
  const { status } = await stage.settle();
  assert.equal(status.totals.dead, 0);
  await waitFor(() => descriptors(stage.sluice.pid) <= before + 4, {
    what: "the descriptors of dead connections to be closed",
  });
}

/** Threads and statements are killed by hand, again and again. */
async function killedThreads(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour });
  stage.stream();
  await stage.flowing();
  for (let round = 0; round < 20; round++) {
    const how = round % 2 === 0 ? "CONNECTION" : "QUERY";
    for (const id of await stage.threads()) await stage.admin(`KILL ${how} ${id}`).catch(unknownThread);
    await stage.flowing(20);
  }
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
}

/** ER_NO_SUCH_THREAD: it has gone by itself. */
function unknownThread(error: { errno?: number }): void {
  if (error.errno !== 1094) throw error;
}

eachDatabase((flavour) => {
  const needs = ["mosquitto", flavour] as const;
  testWith(
    needs,
    `31: ${flavour} killed before, at and after a COMMIT stores each message once`,
    async () => {
      await killedAtCommit(flavour);
    },
  );
  testWith(
    needs,
    `32: a COMMIT that reaches ${flavour} late doubles nothing and holds nobody up`,
    async () => {
      await lateCommit(flavour);
    },
  );
  testWith(
    needs,
    `32: a COMMIT to ${flavour} that outlives its gateway is waited for and then seen`,
    async () => {
      await orphanedCommit(flavour);
    },
  );
  testWith(
    needs,
    `34: KILL of connections and statements in ${flavour} loses and doubles nothing`,
    async () => {
      await killedThreads(flavour);
    },
  );
});

testWith(
  ["mosquitto", ...databases()],
  "33: a database that is frozen and thawed leaves no statement hanging and no descriptor open",
  async () => {
    await Promise.all(databases().map(frozen));
  },
);
