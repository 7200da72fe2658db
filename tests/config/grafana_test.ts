/**
 * The dashboards in config/grafana: every panel's query is run against rows that the gateway has stored, as the user
 * grafana, with Grafana's macros expanded as its manual says. Grafana itself is not run.
 *
 * https://grafana.com/docs/grafana/latest/datasources/mysql/query-editor/#macros
 */
import assert from "node:assert/strict";
import { createConnection } from "mysql2/promise";
import { Sluice } from "../e2e/sluice.ts";
import type { Database } from "../servers/database.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";

const FOLDER = new URL("../../config/grafana/", import.meta.url);

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly {
      readonly format?: string;
      readonly rawSql?: string;
      readonly expr?: string;
    }[];
  }[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly query: string }[];
  };
}

const read = (name: string) => Deno.readTextFileSync(new URL(name, FOLDER));
const dashboard = (name: string): Dashboard => JSON.parse(read(name));

const DAY_S = 86_400;

interface Surroundings {
  readonly fromS: number;
  readonly toS: number;
  readonly variables: Readonly<Record<string, readonly string[]>>;
  /** The manual's expression for a group, or the program's. */
  readonly group: (column: string, seconds: number) => string;
}

const GROUPS: readonly Surroundings["group"][] = [
  (column, s) => `cast(cast(UNIX_TIMESTAMP(${column})/(${s}) as signed)*${s} as signed)`,
  (column, s) => `UNIX_TIMESTAMP(${column}) DIV ${s} * ${s}`,
];

/** Variables first, then macros, as Grafana does. */
function expanded(sql: string, { fromS, toS, variables, group }: Surroundings): string {
  const sqlString = (values: readonly string[]) =>
    values.map((it) => `'${it.replaceAll("'", "''")}'`).join(",");
  const filled = sql
    .replace(/\$\{(\w+):(\w+)\}/g, (_, name, format) => {
      assert.ok(name in variables, `the variable ${name} is not in the dashboard`);
      return format === "sqlstring" ? sqlString(variables[name]) : variables[name].join(",");
    })
    .replaceAll("$__interval", "60s");
  return filled.replace(/\$(__\w+)\(([^)]*)\)/g, (_, name, args) => {
    const [column, interval] = args.split(",").map((it: string) => it.trim());
    switch (name) {
      case "__timeFilter":
        return `${column} BETWEEN FROM_UNIXTIME(${fromS}) AND FROM_UNIXTIME(${toS})`;
      case "__timeGroupAlias":
        return `${group(column, parseInt(interval))} AS "time"`;
    }
    throw new Error(`no such macro: ${name}`);
  });
}

const HOME = [
  { topic: "zigbee2mqtt/kitchen", payload: `{"temperature":21.5,"state":"ON"}` },
  { topic: "zigbee2mqtt/attic", payload: `{"temperature":19,"state":"OFF"}` },
  { topic: "Home/kitchen/climate", payload: `{"temperature":21.5,"humidity":40}` },
  { topic: "Home/attic/climate", payload: `{"temperature":19,"humidity":55}` },
];

const ROUTES = [
  { preset: "zigbee2mqtt", table: "zigbee", hourly: true },
  {
    topic: "Home/{device}/climate",
    table: "climate",
    decode: "json",
    columns: {
      received_at: "@received",
      device: "{device}",
      temperature: { value: "$.temperature", type: "double" },
      humidity: { value: "$.humidity", type: "double" },
    },
  },
];

/** A gateway stores the home once; then the same rows are there for ten days, so that a scan would be a mistake. */
async function fill(database: Database): Promise<void> {
  await using broker = await startMosquitto();
  await using gateway = await Sluice.start({
    config: { broker: { url: broker.url }, database: { url: database.url() }, routes: ROUTES },
  });
  await gateway.until("a subscription", (it) => it.broker.connected);
  await publish(broker.url, HOME);
  await gateway.until("the rows", ({ totals }) => totals.stored === HOME.length && totals.pending === 0);
  assert.equal(await gateway.stop(), 0);
  const minutes = `WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 999)`;
  for (
    const [table, columns] of [["zigbee", "device, name, value, text"], [
      "climate",
      "device, temperature, humidity",
    ]]
  ) {
    await database.admin(
      `INSERT INTO home.${table} (received_at, ${columns}) ${minutes}
       SELECT received_at - INTERVAL 15 * n MINUTE, ${columns} FROM home.${table}, m`,
    );
    await database.admin(`ANALYZE TABLE home.${table}`);
  }
  // At its next start it sums up the hours.
  await gateway.start();
  await waitFor(async () => {
    const [{ done }] = await database.admin(
      "SELECT MAX(hour) > UTC_TIMESTAMP() - INTERVAL 3 HOUR AS done FROM home.zigbee_hourly",
    );
    return Number(done);
  }, { what: "the hours to be summed up" });
  await gateway.stop();
  await database.admin("ANALYZE TABLE home.zigbee_hourly");
}

async function queries(database: Database, name: string, table: string): Promise<void> {
  const connection = await createConnection({
    host: "127.0.0.1",
    port: database.port,
    user: "grafana",
    password: "secret",
    database: "home",
    // As the data source says.
    timezone: "Z",
  });
  try {
    await connection.query("SET time_zone = '+00:00'");
    const { templating, panels } = dashboard(name);
    const variables: Record<string, readonly string[]> = { table: [table] };
    const [[{ now }]] = await connection.query("SELECT UNIX_TIMESTAMP() AS now") as unknown as [
      [{ now: number }],
    ];
    const time = { fromS: now - DAY_S, toS: now + 60 };
    for (const it of templating.list.filter(({ type }) => type === "query")) {
      const [rows] = await connection.query(expanded(it.query, { ...time, variables, group: GROUPS[0] }));
      const values = (rows as object[]).map((row) => String(Object.values(row)[0]));
      assert.ok(values.length > 0, `${it.name} has nothing to choose from`);
      if (it.name === "table") assert.deepEqual(values, [table]);
      else variables[it.name] = values;
    }
    for (const { title, targets } of panels) {
      for (const { rawSql, format } of targets) {
        for (const group of GROUPS) {
          const sql = expanded(rawSql!, { ...time, variables, group });
          const [rows] = await connection.query({ sql, rowsAsArray: false });
          assertShape(title, format!, rows as Record<string, unknown>[], now);
          await assertIndexed(
            title,
            `EXPLAIN ${database.flavour === "mysql" ? "FORMAT=TRADITIONAL " : ""}${sql}`,
            connection,
          );
        }
      }
    }
  } finally {
    connection.destroy();
  }
}

function assertShape(
  title: string,
  format: string,
  rows: readonly Record<string, unknown>[],
  now: number,
): void {
  assert.ok(rows.length > 1, `${title}: ${rows.length} rows`);
  const times = rows.map(({ time }) => time instanceof Date ? time.getTime() / 1_000 : Number(time));
  for (const it of times) {
    assert.ok(it > now - 11 * DAY_S && it <= now + 60, `${title}: ${it} is no time of these days`);
  }
  if (format !== "time_series") return;
  assert.deepEqual(times, times.toSorted((a, b) => a - b), `${title} is in order of time`);
  const { time: _time, metric, ...values } = rows.at(-1)!;
  assert.ok(metric === undefined || typeof metric === "string");
  const numbers = Object.entries(values);
  assert.equal(numbers.length, 1, `${title}: one column of numbers, because of "metric"`);
  assert.ok(Number.isFinite(Number(numbers[0][1])), `${title}: ${numbers}`);
}

/** No table is read from end to end for a day. */
async function assertIndexed(
  title: string,
  sql: string,
  connection: Awaited<ReturnType<typeof createConnection>>,
): Promise<void> {
  const [plan] = await connection.query(sql);
  for (const { table, type, key } of plan as { table: string; type: string; key: string | null }[]) {
    if (/^<derived/.test(table ?? "")) continue;
    assert.ok(key !== null && type !== "ALL" && type !== "index", `${title}: ${JSON.stringify(plan)}`);
  }
}

eachDatabase((flavour, start) => {
  testWith(
    ["mosquitto", flavour],
    `every panel's query gives times and numbers from ${flavour}, by an index`,
    async () => {
      await using database = await start();
      await fill(database);
      // Word for word from the README: a user who may only read.
      await database.admin("CREATE USER grafana@'%' IDENTIFIED BY 'secret'");
      await database.admin("GRANT SELECT ON home.* TO grafana@'%'");
      await queries(database, "climate.json", "climate");
      await queries(database, "home.json", "zigbee");
    },
  );
});

testWith(["mosquitto", "mariadb"], "the gateway's dashboard asks for metrics that there are", async () => {
  await using broker = await startMosquitto();
  const { startMariadb } = await import("../servers/mariadb.ts");
  await using database = await startMariadb();
  await using gateway = await Sluice.start({
    config: { broker: { url: broker.url }, database: { url: database.url() }, routes: ROUTES },
  });
  await gateway.until("a subscription", (it) => it.broker.connected);
  await publish(broker.url, HOME);
  await gateway.until("the rows", ({ totals }) => totals.stored === HOME.length);
  const metrics = await (await fetch(`${gateway.statusUrl}/metrics`)).text();
  let asked = 0;
  for (const { title, targets } of dashboard("gateway.json").panels) {
    for (const it of targets) {
      const { expr, legendFormat } = it as { expr: string; legendFormat: string };
      const [name] = /(sluice|db)_\w+/.exec(expr)!;
      const label = /\{\{(\w+)\}\}/.exec(legendFormat)?.[1];
      assert.match(
        metrics,
        new RegExp(`^${name}${label ? `\\{.*${label}="[^"]+".*\\}` : "(\\{.*\\})?"} [\\d.]+$`, "m"),
        title,
      );
      asked++;
    }
  }
  assert.ok(asked > 10);
  assert.equal(await gateway.stop(), 0);
});

Deno.test("the data source is read in UTC, and each dashboard has a name of its own", () => {
  assert.match(read("datasource.yaml"), /type: mysql\n[^]*timezone: "\+00:00"/);
  const all = ["climate.json", "home.json", "gateway.json"].map(dashboard);
  assert.deepEqual(all.map(({ uid }) => uid), ["sluice-climate", "sluice-home", "sluice-gateway"]);
  const files = [...Deno.readDirSync(FOLDER)].map(({ name }) => name).sort();
  assert.deepEqual(files, [
    "climate.json",
    "dashboards.yaml",
    "datasource.yaml",
    "gateway.json",
    "home.json",
  ]);
});
