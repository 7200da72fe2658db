/**
 * What `ddl` prints can be executed as it stands, and what `check` finds wrong with upkeep is mended by what it prints.
 */
import assert from "node:assert/strict";
import { createConnection } from "mysql2/promise";
import { sluice, withFolder } from "../cli/program.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";

const columns = {
  ts: "@received",
  room: "{room}",
  t: { value: "$.t", type: "double", unit: '°C, it\'s \\ "warm"' },
};
const ROUTES = [
  { topic: "Home/{room}/climate", table: "climate", decode: "json", columns, retention: "90d", hourly: true },
  { topic: "Home/{room}/power", table: "power", decode: "json", columns, retention: "2000d" },
  { preset: "frigate", retention: "30d", hourly: true },
  { preset: "zigbee2mqtt", layout: "latest", retention: "30d" },
  { topic: "Home/{room}/all", table: "narrow", layout: "narrow", decode: "json" },
];

eachDatabase((flavour, start) => {
  testWith(
    ["mosquitto", flavour],
    `ddl's tables are made as they are by ${flavour}, and check finds them good`,
    async () => {
      await using broker = await startMosquitto();
      await using database = await start();
      const url = database.url(await database.createDatabase());
      const config = {
        ...{ broker: { url: broker.url }, database: { url, createTables: false } },
        routes: ROUTES,
      };
      await withFolder(config, async (file) => {
        const { code, out, err } = await sluice(["ddl", "-c", file]);
        assert.equal(code, 0, err);
        for (
          const name of [
            "climate",
            "climate_hourly",
            "power",
            "frigate",
            "frigate_hourly",
            "frigate_events",
            "zigbee2mqtt",
            "narrow",
          ]
        ) {
          assert.equal(
            out.split(`CREATE TABLE IF NOT EXISTS \`${name}\` (`).length,
            2,
            `${name} once\n${out}`,
          );
        }
        const before = await sluice(["check", "-c", file]);
        assert.equal(before.code, 1, before.out);
        assert.match(before.out, /there is no table climate_hourly/);
        const connection = await createConnection({ uri: url, multipleStatements: true, charset: "utf8mb4" });
        try {
          await connection.query(out);
          const [rows] = await connection.query("SHOW FULL COLUMNS FROM climate_hourly LIKE 't_mean'");
          assert.equal((rows as { Comment: string }[])[0].Comment, columns.t.unit);
          const after = await sluice(["check", "-c", file]);
          assert.equal(after.code, 0, after.out);
          await connection.query("ALTER TABLE climate DROP KEY ts, DROP KEY room");
          await connection.query("ALTER TABLE climate_hourly DROP PRIMARY KEY, ADD PRIMARY KEY (hour)");
          const found = await sluice(["check", "--json", "-c", file]);
          const findings = found.out.trimEnd().split("\n").map((it) => JSON.parse(it));
          assert.deepEqual(findings.map((it) => it.code).sort(), ["hourly-series", "time-not-indexed"]);
          for (const { fix } of findings) await connection.query(fix);
          await connection.query(out);
          assert.equal((await sluice(["check", "-c", file])).code, 0);
        } finally {
          await connection.end();
        }
      });
    },
  );
});
