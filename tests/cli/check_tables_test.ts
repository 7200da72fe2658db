/**
 * `sluice check` against real tables and real rights: what is wrong, where in the file, and SQL that mends it, tried.
 */
import assert from "node:assert/strict";
import type { Database } from "../servers/database.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { findings, told } from "./findings.ts";
import { Program, sluice, withFolder } from "./program.ts";
import { assertShown } from "./shown.ts";

/** A table as one finds it: made years ago, for something else. */
const OLD_TABLES = [
  `CREATE TABLE home.climate (
     id int PRIMARY KEY, room varchar(4) CHARACTER SET latin1 COMMENT 'the room', must int NOT NULL,
     temperature int NOT NULL DEFAULT 7, at datetime DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
     raw tinyblob, state enum('on','off'), strict double NOT NULL, counter int unsigned,
     note varchar(200) NOT NULL DEFAULT 'none'
   ) ENGINE=MyISAM`,
  "CREATE TABLE home.latest (topic varchar(512), value double)",
  "CREATE TABLE home.`sensor_attic` (ts datetime)",
];

const config = (broker: string, database: string) =>
  `{
  "broker": { "url": "${broker}" },
  "database": { "url": "${database}", "createTables": false },
  "status": false,
  "routes": [
    {
      "topic": "Home/{room}/climate",
      "table": "climate",
      "decode": "json",
      "columns": {
        "Room": { "value": "{room}", "type": "varchar(40)" },
        "temperature": { "value": "$.t", "type": "double" },
        "at": "@received",
        "raw": "@payload",
        "state": { "value": "$.s", "type": "boolean" },
        "strict": { "value": "$.t", "type": "double" },
        "counter": { "value": "$.n", "type": "bigint" },
        "note": "{room}",
        "extra": { "value": "$.x", "type": "json" }
      }
    },
    {
      "topic": "Home/{room}/now",
      "table": "latest",
      "layout": "latest",
      "columns": { "topic": "@topic", "value": { "value": "$", "type": "double" } }
    },
    { "topic": "sensor/{name}", "table": "sensor_{name}", "columns": { "ts": "@received" } },
    { "topic": "plug/{name}", "table": "plug", "columns": { "ts": "@received", "name": "{name}" } }
  ]
}
`;

/** A user with no more rights than to see that the tables are there. */
async function limited(database: Database): Promise<string> {
  await database.admin("CREATE USER 'lim_it''ed'@'%' IDENTIFIED BY 'secret'");
  for (const table of ["climate", "latest", "sensor_attic"]) {
    await database.admin(`GRANT SELECT ON home.${table} TO 'lim_it''ed'@'%'`);
  }
  return database.url("home", "lim_it'ed:secret");
}

/** Runs what `check` prints, as its reader would. */
async function apply(database: Database, sql: string): Promise<void> {
  for (const statement of sql.split(/;\n/)) {
    await database.admin(statement.replace(/(TABLE(?: IF NOT EXISTS)?) (?=[`s])/, "$1 home."));
  }
}

type Start = Parameters<Parameters<typeof eachDatabase>[0]>[1];

async function mends(flavour: string, start: Start): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  for (const sql of OLD_TABLES) await database.admin(sql);
  await withFolder(config(broker.url, await limited(database)), async (file, dir) => {
    const { out } = await sluice(["check", "-c", file]);
    await assertShown(`check_tables_${flavour}`, out, dir);
    const before = await findings(file);
    assert.equal(before.code, 1);
    assert.ok(before.all.every((it) => it.file === file && it.line > 1 && it.column > 0));
    await applyAll(database, file);
    assert.equal((await sluice(["check", "-c", file])).code, 0);
    await stores(broker.url, database, file);
  });
}

/** Until there is nothing left to apply. */
async function applyAll(database: Database, file: string): Promise<void> {
  for (let round = 1;; round++) {
    const { all } = await findings(file);
    const open = told(all);
    if (open.length === 0) return;
    assert.ok(round <= 3, `after ${round} rounds: ${JSON.stringify(open, null, 1)}`);
    for (const { fix, message } of open) {
      assert.ok(fix, message);
      await apply(database, fix);
    }
  }
}

async function specialTables(_flavour: string, start: Start): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  await database.admin(
    "CREATE TABLE home.base (id int PRIMARY KEY AUTO_INCREMENT, a double, b double AS (a * 2) VIRTUAL)",
  );
  await database.admin("CREATE VIEW home.through AS SELECT a FROM home.base");
  await database.admin("CREATE VIEW home.summed AS SELECT a, COUNT(*) AS n FROM home.base GROUP BY a");
  await database.admin(
    "CREATE TABLE home.lists (state enum('on','off') NOT NULL, day date, big bigint unsigned)",
  );
  const value = (type: string) => ({ value: "$", type });
  const route = (table: string, columns: object) => ({ topic: `t/${table}`, table, columns });
  const routes = [
    route("base", { A: value("double"), b: value("double") }),
    route("through", { a: value("double") }),
    route("summed", { a: value("double") }),
    route("lists", { state: value("varchar(3)"), day: "@received", big: "@sequence" }),
    // What the gateway will make itself is right.
    route("new", { a: value("double") }),
  ];
  await withFolder(
    { broker: { url: broker.url }, database: { url: database.url() }, routes },
    async (file) => {
      const { all, code } = await findings(file);
      assert.equal(code, 1);
      const seen = all.filter((it) => it.code !== "mosquitto").map((it) =>
        `${it.severity} ${it.code}: ${it.message}`
      );
      assert.deepEqual(seen, [
        `error column-generated: column b of base is computed by the database, which refuses what the route gives: leave it out of "columns"`,
        "note view: through is a view: whether the table behind it has transactions cannot be seen from here",
        "error not-insertable: summed takes no rows: The target table summed of the INSERT is not insertable-into (error 1471)",
        "note view: summed is a view: whether the table behind it has transactions cannot be seen from here",
        "warning column-type: column state of lists is enum('on','off'): any other text becomes a dead letter",
        "warning column-rounds: column day of lists is date: it leaves out the time of day, and the route gives the time of arrival",
        "warning column-not-null: column state of lists is NOT NULL: a message without a value for it becomes a dead letter (error 1048)",
      ]);
    },
  );
}

const RIGHTS: readonly (readonly [grant: string, missing: readonly string[]])[] = [
  ["GRANT INSERT (a) ON my_home.t TO some@'%'", ["insert into, read, overwrite rows of and alter t"]],
  ["GRANT INSERT, UPDATE ON my_home.t TO some@'%'", ["insert into, read, overwrite rows of and alter t"]],
  ["GRANT INSERT, SELECT, UPDATE ON my_home.t TO some@'%'", ["alter t"]],
  ["GRANT ALTER ON my_home.t TO some@'%'", []],
];

async function missingRights(_flavour: string, start: Start): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  await database.admin("CREATE DATABASE my_home CHARACTER SET utf8mb4");
  await database.admin("CREATE TABLE my_home.t (a double, b double, UNIQUE KEY (a)) ENGINE=InnoDB");
  await database.admin("CREATE USER some@'%' IDENTIFIED BY 'secret'");
  const columns = { a: { value: "$", type: "double" }, b: { value: "$", type: "double" } };
  const config = {
    broker: { url: broker.url },
    database: { url: database.url("my_home", "some:secret"), addColumns: true },
    routes: [
      { topic: "t", table: "t", columns, onDuplicateKey: "update" },
      { topic: "m/{x}", table: "of_{x}", columns },
    ],
  };
  await withFolder(config, async (file) => {
    for (const [grant, missing] of RIGHTS) {
      await database.admin(grant);
      const { all } = await findings(file);
      const said = all.filter((it) => it.code === "no-grant").map((it) =>
        it.message.replace("the user 'some'@'%' may not ", "")
      );
      assert.deepEqual(said, [
        "make the table, read, insert into and overwrite rows of sluice_ledger, in which the gateway keeps how far it has come",
        ...missing,
        "make the table and insert into of_{x}",
      ]);
      assert.ok(!all.some((it) => it.code === "column-missing"), "a hidden column is not missing");
    }
    const { all } = await findings(file);
    const grants = all.filter((it) => it.code === "no-grant").map((it) => it.fix!);
    assert.deepEqual(grants, [
      "GRANT CREATE, SELECT, INSERT, UPDATE ON `my_home`.`sluice_ledger` TO 'some'@'%'",
      "GRANT CREATE, INSERT ON `my\\_home`.* TO 'some'@'%'",
    ]);
    for (const sql of grants) await database.admin(sql);
    assert.deepEqual(told((await findings(file)).all), []);
  });
}

async function rightsForUpkeep(_flavour: string, start: Start): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  await database.admin("CREATE USER some@'%' IDENTIFIED BY 'secret'");
  const config = {
    broker: { url: broker.url },
    database: { url: database.url("home", "some:secret"), createTables: false },
    status: false,
    routes: [{
      topic: "t/{x}",
      table: "kept",
      retention: "90d",
      hourly: true,
      columns: { received_at: "@received", x: "{x}", value: { value: "$", type: "double" } },
    }],
  };
  await withFolder(config, async (file) => {
    const { out } = await sluice(["ddl", "-c", file]);
    for (const sql of out.split(";\n").filter((it) => it.trim())) {
      await database.admin(sql.replace(/IF NOT EXISTS /, "IF NOT EXISTS home."));
    }
    await database.admin("GRANT INSERT ON home.kept TO some@'%'");
    const { all } = await findings(file);
    assert.deepEqual(all.filter((it) => it.code === "no-grant").map((it) => it.fix), [
      // It is there, but a table without any right is hidden.
      "GRANT CREATE, SELECT, INSERT, UPDATE ON `home`.`sluice_ledger` TO 'some'@'%'",
      "GRANT SELECT, DELETE, ALTER, CREATE, INSERT, DROP ON `home`.`kept` TO 'some'@'%'",
      "GRANT SELECT, INSERT, UPDATE ON `home`.`kept_hourly` TO 'some'@'%'",
    ]);
    await applyAll(database, file);
    const old = "2020-01-01 00:00:00";
    await database.admin(`INSERT INTO home.kept (received_at, x, value) VALUES ('${old}', 'a', 1)`);
    await using gateway = new Program(["run", "-c", file]);
    await gateway.until("the old row to be summed up, and to go", async () => {
      const [{ done }] = await database.admin(
        "SELECT (SELECT COUNT(*) FROM home.kept_hourly) = 1 AND (SELECT COUNT(*) FROM home.kept) = 0 AS done",
      );
      return Number(done);
    });
    assert.doesNotMatch(gateway.err, /denied/);
    gateway.kill("SIGTERM");
    await gateway.ended();
  });
}

/** A route, and what is said of its key. */
const KEYS: readonly (readonly [route: object, expected: string | null])[] = (() => {
  const columns = { topic: "@topic", value: { value: "$", type: "double" } };
  const byDay = { table: "byday", columns: { ...columns, day: "@received" } };
  return [
    [{ table: "one", columns }, "the key (topic) of one lets a topic have one row"],
    [{ table: "one", columns, onDuplicateKey: "update" }, null],
    [{ table: "one", columns, onDuplicateKey: "ignore" }, null],
    [byDay, null],
    [
      { table: "free", columns, onDuplicateKey: "update" },
      "free has no unique key among the route's columns",
    ],
    [{ table: "free", columns, onDuplicateKey: "ignore" }, "ignores nothing: each message makes a row"],
    [
      { ...byDay, layout: "latest" },
      "the route tells rows apart by (topic), the table byday by (topic, day)",
    ],
  ];
})();

async function keys(_flavour: string, start: Start): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  const tables = [
    "byday (topic varchar(128), day date, value double, PRIMARY KEY (topic, day))",
    "one (topic varchar(128) PRIMARY KEY, value double)",
    "free (id int PRIMARY KEY AUTO_INCREMENT, topic varchar(128), value double)",
  ];
  for (const sql of tables) await database.admin(`CREATE TABLE home.${sql}`);
  for (const [route, expected] of KEYS) {
    const routes = [{ topic: "a/{b}", ...route }];
    const config = { broker: { url: broker.url }, database: { url: database.url() }, routes };
    await withFolder(config, async (file) => {
      const { all } = await findings(file);
      const said = all.filter((it) => it.code === "unique-key").map((it) => it.message);
      assert.equal(said.length, expected === null ? 0 : 1, `${JSON.stringify(route)}: ${said}`);
      if (expected) assert.ok(said[0].includes(expected), said[0]);
    });
  }
}

const TESTS: Readonly<Record<string, (flavour: string, start: Start) => Promise<void>>> = {
  "what check prints mends all that it finds, and then every row is stored": mends,
  "check knows a view, a computed column and a list": specialTables,
  "check says which rights are missing for what the gateway would do": missingRights,
  "check says which rights are missing to remove old rows and to sum up hours": rightsForUpkeep,
  "check compares keys with what the route does about them": keys,
};

eachDatabase((flavour, start) => {
  for (const [title, test] of Object.entries(TESTS)) {
    testWith(["mosquitto", flavour], `${flavour}: ${title}`, () => test(flavour, start));
  }
});

/** The routes are not only called good: they work. */
async function stores(broker: string, database: Database, file: string): Promise<void> {
  await using gateway = new Program(["run", "-c", file]);
  await gateway.until("the rows", async () => {
    await publish(broker, [
      { topic: "Home/Küche 🍳/climate", payload: `{"t":21.6,"s":"on","n":5000000000,"x":[1]}` },
      { topic: "Home/attic/climate", payload: "{}" },
      { topic: "Home/attic/now", payload: "1.5" },
      { topic: "Home/attic/now", payload: "2.5" },
      { topic: "sensor/attic", payload: "1" },
      { topic: "plug/tv", payload: "1" },
    ]);
    const [{ n }] = await database.admin(
      `SELECT (SELECT COUNT(*) FROM home.climate) > 1 AND (SELECT COUNT(*) FROM home.sensor_attic) > 0
         AND (SELECT COUNT(*) FROM home.plug) > 0 AND (SELECT MAX(value) FROM home.latest) = 2.5 AS n`,
    );
    return Number(n) === 1;
  });
  const [row] = await database.admin("SELECT * FROM home.climate WHERE room LIKE 'K%' LIMIT 1");
  assert.deepEqual(
    [row.room, row.temperature, row.state, Number(row.counter), row.note],
    ["Küche 🍳", 21.6, 1, 5_000_000_000, "Küche 🍳"],
  );
  const [{ n }] = await database.admin("SELECT COUNT(*) AS n FROM home.latest");
  assert.equal(Number(n), 1, "one row, overwritten");
  gateway.kill("SIGTERM");
  assert.equal((await gateway.ended()).code, 0);
}
