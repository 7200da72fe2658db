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
/** Another one finds what this one does not, now and then a server's own misreading: SLUICE_SEED=... */
const SEED = 1_811_435_435;
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

function lanesOf(flavour: Flavour): Lane[] {
  return DECODES.flatMap((decode) =>
    TYPES.flatMap(([name, sql, family]): Lane[] => {
      const lane = {
        table: `${decode}_${name}`,
        sql,
        family: family === "json" && flavour === "mysql" ? "binary json" as const : family,
        decode,
      };
      return [{ ...lane, type: undefined }, { ...lane, table: `${lane.table}_declared`, type: sql }];
    })
  ).filter(({ table }) => !NEVER[flavour].includes(table));
}

/** Tables that take nothing at all of this, so that their lanes would stall: a number and bytes are no JSON to MySQL. */
const NEVER: Readonly<Record<Flavour, readonly string[]>> = {
  mariadb: [],
  mysql: ["bytes_json", "number_json"],
};

function startStage(flavour: Flavour, lanes: readonly Lane[]): Promise<Stage> {
  return Stage.start({
    flavour,
    server: shared[flavour],
    tables: Object.fromEntries(lanes.map(({ table, sql }) => [table, `v ${sql}`])),
    routes: lanes.map(({ table, decode, type }) => ({
      topic: `Corpus/${decode}/{n}`,
      table,
      decode,
      columns: { id: "{n}", v: type ? { value: "$", type } : "$" },
    })),
  });
}

/** Something that gets in almost everywhere: bad rows alone would be taken for the table's fault. */
const WELCOME = ["20240501", "1", '"2024-05-01 12:00:00"', "2024-05-01 12:00:00", "[]"].map((text) => ({
  name: text,
  bytes: new TextEncoder().encode(text),
}));

function corpus(seed: number): Payload[] {
  return payloads(seed, GENERATED).flatMap((it, i) => [it, WELCOME[i % WELCOME.length]]);
}

async function everything(flavour: Flavour): Promise<void> {
  const seed = Number(Deno.env.get("SLUICE_SEED") ?? SEED);
  console.log(`SLUICE_SEED=${seed}`);
  const lanes = lanesOf(flavour);
  await using stage = await startStage(flavour, lanes);
  const all = corpus(seed);
  for (const decode of DECODES) {
    await Promise.all(all.map(({ bytes }, n) => stage.publisher.publish(`Corpus/${decode}/${n}`, bytes)));
  }
  const deliveries = all.length * lanes.length;
  const { totals } = await stage.sluice.until(
    "everything to be stored or dead",
    ({ totals, lanes }) =>
      totals.deliveries === deliveries && Object.values(lanes).every((it) => it.pending === 0),
    120_000,
  );
  const complaints: string[] = [];
  for (const lane of lanes) {
    const text = lane.family === "blob" ? "NULL" : "CAST(v AS CHAR)";
    const rows = await stage.admin(`SELECT id, HEX(v) AS hex, ${text} AS text FROM t.${lane.table}`);
    complaints.push(...judge(stage, lane, all, rows as (Stored & { id: string })[]));
  }
  assert.deepEqual(complaints.slice(0, 40), [], `${complaints.length} complaints`);
  assert.ok(totals.stored > 0 && totals.dead > 0);
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
    const wrong = difference(bytes, lane, row);
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

/** Payloads of ten megabytes, with small ones before and after. */
async function huge(flavour: Flavour): Promise<void> {
  const lanes = DECODES.map((decode): Lane => ({
    table: decode,
    sql: decode === "bytes" ? "longblob" : "longtext",
    family: decode === "bytes" ? "blob" : "text",
    decode,
    type: undefined,
  }));
  await using stage = await startStage(flavour, lanes);
  const before = WELCOME.length;
  for (const { decode } of lanes) {
    const all = [...WELCOME, hugePayloads()[decode], ...WELCOME];
    for (const [n, { bytes }] of all.entries()) {
      const { outcome } = await stage.publisher.publish(`Corpus/${decode}/${n}`, bytes);
      assert.equal(outcome, "accepted");
    }
  }
  await stage.sluice.until(
    "everything to be stored or dead",
    ({ totals }) => totals.deliveries === (2 * before + 1) * lanes.length && totals.pending === 0,
    120_000,
  );
  for (const { table, decode } of lanes) {
    const { name, bytes } = hugePayloads()[decode];
    const [row] = await stage.admin(`SELECT CAST(v AS BINARY) AS v FROM t.${table} WHERE id = '${before}'`);
    const letter = deadOf(stage, table).get(`Corpus/${decode}/${before}`);
    assert.ok(!row !== !letter, `${name} is nowhere, or in both`);
    assert.ok(equal(letter ?? row.v, bytes), `${name} is not what it was`);
  }
}

const equal = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((it, i) => it === b[i]);

eachDatabase((flavour) => {
  const needs = ["mosquitto", flavour] as const;
  testWith(
    needs,
    `45: hostile payloads are stored in ${flavour} as they are, or not at all`,
    () => everything(flavour),
  );
  testWith(needs, `45: so are payloads of ten megabytes in ${flavour}`, () => huge(flavour));
});
