/**
 * The examples in config/: each loads without a warning, and makes of the messages beside this file the rows in golden/.
 * UPDATE=1 writes these anew: read them as someone who wants to query the table.
 */
import assert from "node:assert/strict";
import { type Explained, explainerOf } from "../../src/cli/explanation.ts";
import { readMessages } from "../../src/cli/message_lines.ts";
import { payloadText } from "../../src/cli/messages.ts";
import { loadConfig, type LoadedConfig } from "../../src/config/load.ts";
import { tableLimits } from "../../src/mysql/limits.ts";
import { shapesOf } from "../../src/route/mod.ts";
import { assertGolden } from "./golden.ts";

const CONFIG = new URL("../../config/", import.meta.url);
const HERE = new URL("./examples/", import.meta.url);
const GOLDEN = new URL("./golden/examples/", import.meta.url).href;

const NAMES = [...Deno.readDirSync(CONFIG)].map(({ name }) => name).filter((name) => name.endsWith(".jsonc"))
  .map((name) => name.replace(".jsonc", "")).sort();

async function explained(name: string, loaded: LoadedConfig): Promise<string> {
  const explainer = explainerOf(loaded);
  const lines: string[] = [];
  for await (const read of readMessages(new URL(`${name}.jsonl`, HERE).pathname)) {
    assert.ok("message" in read, JSON.stringify(read));
    const { topic, payload } = read.message;
    lines.push(`${topic}  ${payloadText(payload).slice(0, 100)}`);
    for (const it of explainer.explain(read.message)) lines.push(...rowsOf(it));
    lines.push("");
  }
  return lines.join("\n");
}

function rowsOf({ rows, reason, outcome }: Explained): string[] {
  return rows.length > 0
    ? rows.map(({ table, columns }) => `  ${table}  ${JSON.stringify(columns)}`)
    : [`  (${outcome}: ${reason})`];
}

Deno.test("there is an example for each kind of home", () => {
  assert.deepEqual(NAMES, [
    "complete",
    "dashboard",
    "energy",
    "frigate",
    "home",
    "homeassistant",
    "industrial",
    "minimal",
    "raw",
    "sensor",
  ]);
});

for (const name of NAMES) {
  Deno.test(`config/${name}.jsonc is good, and makes the rows that it promises`, async () => {
    const loaded = await loadConfig(new URL(`${name}.jsonc`, CONFIG).pathname);
    assert.deepEqual(loaded.warnings, []);
    assert.deepEqual(tableLimits(shapesOf(loaded.config.routes)), []);
    assert.match(loaded.source, /^\/\/ .+/, "it says what it is for");
    await assertGolden(GOLDEN, name, await explained(name, loaded));
  });
}
