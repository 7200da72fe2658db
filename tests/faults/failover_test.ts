/**
 * Two servers, the second a replica of the first, and the gateway with both in `hosts`: the first hands over, or dies
 * with commits that the second never saw. Row 37 of the fault catalogue, and 47 as it happens with replication.
 */
import assert from "node:assert/strict";
import type { Database, Flavour, ResultRow } from "../servers/database.ts";
import { databases, START, testWith, withAllDatabases } from "../servers/needs.ts";
import { Stage } from "./stage.ts";

const ARGS: Readonly<Record<Flavour, readonly string[]>> = {
  mariadb: ["--log-bin=bin", "--binlog-format=ROW", "--log-slave-updates"],
  mysql: ["--log-bin=bin", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"],
};

/** Words of each flavour's replication. */
const SQL = {
  mariadb: {
    follow: (port: number) =>
      `CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=${port}, MASTER_USER='copy', MASTER_PASSWORD='secret', ` +
      "MASTER_USE_GTID=slave_pos",
    position: "SELECT @@gtid_binlog_pos AS it",
    reach: (position: string) => `SELECT MASTER_GTID_WAIT('${position}', 60) AS it`,
  },
  mysql: {
    follow: (port: number) =>
      `CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=${port}, SOURCE_USER='copy', ` +
      "SOURCE_PASSWORD='secret', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1",
    position: "SELECT @@gtid_executed AS it",
    reach: (position: string) => `SELECT WAIT_FOR_EXECUTED_GTID_SET('${position}', 60) AS it`,
  },
} as const;

const one = ([row]: readonly ResultRow[]) => String(row.it).replace(/\s/g, "");

/** The stage's own database is the first; `second` follows it, read-only. */
class Pair implements AsyncDisposable {
  private constructor(readonly stage: Stage, readonly second: Database) {}

  static async start(flavour: Flavour): Promise<Pair> {
    await using stack = new AsyncDisposableStack();
    const first = stack.use(await START[flavour]({ args: [...ARGS[flavour], "--server-id=1"] }));
    const second = stack.use(await START[flavour]({ args: [...ARGS[flavour], "--server-id=2"] }));
    await first.admin("CREATE USER copy@'%' IDENTIFIED BY 'secret'");
    await first.admin("GRANT REPLICATION SLAVE ON *.* TO copy@'%'");
    await second.admin("SET GLOBAL read_only = 1");
    await second.admin(SQL[flavour].follow(first.port));
    await second.admin("START REPLICA");
    const hosts = [`127.0.0.1:${second.port}`];
    const stage = stack.use(await Stage.start({ flavour, server: first, config: { hosts } }));
    const pair = new Pair(stage, second);
    pair.#stack = stack.move();
    return pair;
  }

  #stack = new AsyncDisposableStack();

  /** Waits until the second has all that the first had at this moment. */
  async follow(): Promise<void> {
    const { database } = this.stage;
    const { position, reach } = SQL[database.flavour];
    assert.equal(one(await this.second.admin(reach(one(await database.admin(position))))), "0");
  }

  async promote(): Promise<void> {
    await this.second.admin("STOP REPLICA");
    await this.second.admin("SET GLOBAL read_only = 0");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** In good order: nothing is lost by it. */
async function switchover(flavour: Flavour): Promise<void> {
  await using pair = await Pair.start(flavour);
  const { stage, second } = pair;
  stage.stream();
  await stage.flowing();
  await stage.admin("SET GLOBAL read_only = 1");
  await pair.follow();
  await stage.sluice.until("it to be noticed", (it) => !it.database.reachable);
  await pair.promote();
  await stage.flowing(200);
  const { verdict } = await stage.settle({ database: second });
  assert.equal(verdict.dead, 0);
  assert.doesNotMatch(stage.sluice.output, /lost what was committed/);
}

/** The last commits of the first are not on the second. */
async function death(flavour: Flavour): Promise<void> {
  await using pair = await Pair.start(flavour);
  const { stage, second } = pair;
  await stage.begin();
  stage.stream();
  await stage.flowing();
  await pair.follow();
  await second.admin("STOP REPLICA");
  await stage.flowing(200);
  await stage.database.kill();
  await pair.promote();
  await stage.flowing(200);
  const { verdict } = await stage.settle({ database: second });
  assert.equal(verdict.dead, 0);
  assert.match(stage.sluice.output, /the database lost what was committed to a after message \d+/);
}

const needs = ["mosquitto", ...databases()] as const;
testWith(
  needs,
  "37: when the first server becomes read-only and its replica takes over, all goes on there",
  () => withAllDatabases(switchover),
);
testWith(
  needs,
  "47: when the first server dies with commits that its replica never saw, they are written again",
  () => withAllDatabases(death),
);
