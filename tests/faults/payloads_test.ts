/**
 * Whatever anybody sends, through each decoder into each family of columns: it is stored as it is, or is a dead letter
 * with the very bytes that came. Row 45 of the fault catalogue.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import type { Flavour } from "../servers/database.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";
import { hugePayloads, type Payload, payloads } from "./payload_corpus.ts";
import { Stage } from "./stage.ts";
import { type Decode, difference, type Family, type Stored } from "./stored_value.ts";

const shared = sharedDatabases({ args: ["--max-allowed-packet=64M"] });
const GENERATED = 60;
const DECODES: readonly Decode[] = ["json", "text", "bytes", "auto", "number"];

/** A name, the type in the table, and the family. */
const TYPES: readonly (readonly [string, string, Family])[] = [
  ["text", "longtext", "text"],
  ["varchar", "varchar(200)", "text"],
  ["blob", "longblob", "blob"],
  ["integer", "bigint", "integer"],
  ["double", "double", "double"],
  ["decimal", "decimal(40,15)", "decimal"],
  ["json", "json", "json"],
  ["datetime", "datetime(3)", "datetime"],
  ["boolean", "boolean", "boolean"],
];

interface Lane {
  readonly table: string;
  readonly sql: string;
  readonly family: Family;
  readonly decode: Decode;
  readonly type: string | undefined;
}

const LANES: readonly Lane[] = DECODES.flatMap((decode) =>
  TYPES.flatMap(([name, sql, family]) => [
    { table: `${decode}_${name}`, sql, family, decode, type: undefined },
    { table: `${decode}_${name}_declared`, sql, family, decode, type: sql },
  ])
);

/** Something that gets in almost everywhere: bad rows alone would be taken for the table's fault. */
const WELCOME = ["20240501", "1", '"2024-05-01 12:00:00"', "2024-05-01 12:00:00", "[]"].map((text) => ({
  name: text,
  bytes: new TextEncoder().encode(text),
}));

function corpus(seed: number): Payload[] {
  return payloads(seed, GENERATED).flatMap((it, i) => [it, WELCOME[i % WELCOME.length]]);
}

async function everything(flavour: Flavour): Promise<void> {
  const seed = Number(Deno.env.get("SLUICE_SEED") ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`SLUICE_SEED=${seed}`);
  await using stage = await Stage.start({
    flavour,
    server: shared[flavour],
    tables: Object.fromEntries(LANES.map(({ table, sql }) => [table, `v ${sql}`])),
    routes: LANES.map(({ table, decode, type }) => ({
      topic: `Corpus/${decode}/{n}`,
      table,
      decode,
      columns: { id: "{n}", v: type ? { value: "$", type } : "$" },
    })),
  });
  const all = corpus(seed);
  for (const decode of DECODES) {
    await Promise.all(all.map(({ bytes }, n) => stage.publisher.publish(`Corpus/${decode}/${n}`, bytes)));
  }
  const deliveries = all.length * LANES.length;
  const status = await stage.sluice.until(
    "everything to be stored or dead, or its lane to refuse everything",
    ({ totals, lanes }) =>
      totals.deliveries === deliveries &&
      Object.values(lanes).every(({ pending, state }) => pending === 0 || state === "stalled"),
  );
  const stalled = Object.entries(status.lanes).filter(([, it]) => it.pending > 0);
  console.log(stalled.map(([name, it]) => `${name}: ${it.pending} ${it.reason}`).join("\n"));
  const complaints: string[] = [];
  for (const lane of LANES) {
    const rows = await stage.admin(
      `SELECT id, HEX(v) AS hex, ${lane.family === "blob" ? "NULL" : "CAST(v AS CHAR)"} AS text, ${
        lane.family === "text" || lane.family === "blob" ? "HEX(v)" : "HEX(CAST(v AS CHAR))"
      } AS bytes FROM t.${lane.table}`,
    );
    complaints.push(...judge(stage, lane, all, rows as (Stored & { id: string })[]));
  }
  assert.deepEqual(complaints.slice(0, 40), [], `${complaints.length} complaints`);
}

function judge(
  stage: Stage,
  lane: Lane,
  all: readonly Payload[],
  rows: readonly (Stored & { id: string })[],
): string[] {
  const stored = new Map(rows.map((it) => [it.id, it]));
  const dead = deadOf(stage, lane.table);
  return all.flatMap(({ name, bytes }, n) => {
    const row = stored.get(String(n));
    const letter = dead.get(`Corpus/${lane.decode}/${n}`);
    const what = `${lane.table}: ${JSON.stringify(name.slice(0, 60))}`;
    if (row && letter) return [`${what} is in both`];
    if (letter) return equal(letter, bytes) ? [] : [`${what} is another payload now`];
    if (!row) return [`${what} is missing`];
    const wrong = difference(bytes, lane.decode, lane.family, row);
    return wrong === null ? [] : [`${what} is ${wrong.slice(0, 100)}`];
  });
}

function deadOf({ spoolPath }: Stage, lane: string): Map<string, Uint8Array> {
  const spool = new DatabaseSync(spoolPath, { readOnly: true });
  try {
    const letters = spool.prepare("SELECT topic, payload FROM dead WHERE lane = ?").all(lane);
    return new Map(letters.map(({ topic, payload }) => [topic as string, payload as Uint8Array]));
  } finally {
    spool.close();
  }
}

const equal = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((it, i) => it === b[i]);
void hugePayloads;

eachDatabase((flavour) => {
  testWith(
    ["mosquitto", flavour],
    `45: hostile payloads are stored in ${flavour} as they are, or not at all`,
    () => everything(flavour),
  );
});
