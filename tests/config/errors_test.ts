/**
 * Every kind of mistake in a configuration, and the message that a person reads, kept as texts in golden/.
 */
import assert from "node:assert/strict";
import { formatFinding } from "../../src/config/finding.ts";
import { parseConfig, WrongConfigurationError } from "../../src/config/load.ts";
import { assertGolden } from "./golden.ts";

const GOLDEN = new URL("./golden/", import.meta.url).href;
const GOOD = `"broker": { "url": "mqtt://127.0.0.1" },\n  "database": { "url": "mysql://a@127.0.0.1/home" }`;
const withRoute = (route: string) => `{\n  ${GOOD},\n  "routes": [\n    ${route}\n  ]\n}`;

const MISTAKES: Record<string, string> = {
  "empty file": "",
  "not json": `{ "broker": { "url": "mqtt://a" }, ]`,
  "not an object": `["mqtt://a"]`,
  "missing sections": "{}",
  "misspelt key": `{ "brokr": {}, ${GOOD} }`,
  "misspelt nested key":
    `{ "broker": { "url": "mqtt://a", "usrname": "x" }, "database": { "url": "sqlite:a" } }`,
  "unknown key": `{ ${GOOD}, "colour": "blue" }`,
  "wrong type":
    `{ "broker": { "url": 1883 }, "database": { "url": "mysql://a@b/c", "pool": { "size": "five" } } }`,
  "wrong url": `{ "broker": { "url": "http://a" }, "database": { "url": "postgres://a@b/c" } }`,
  "no database name": `{ "broker": { "url": "mqtt://a" }, "database": { "url": "mysql://a@b" } }`,
  "wrong duration and size": `{ ${GOOD}, "spool": { "linger": "10", "maxSize": "1 gig" } }`,
  "negative pool":
    `{ "broker": { "url": "mqtt://a" }, "database": { "url": "sqlite:a", "pool": { "size": 0, "maxOverflow": -1.5 } } }`,
  "wrong choice": `{ ${GOOD}, "spool": { "onFull": "dropoldest" } }`,
  "wrong secret":
    `{ "broker": { "url": "mqtt://a", "password": { "evn": "X" } }, "database": { "url": "sqlite:a" } }`,
  "bad topic": withRoute(`{ "topic": "Home/ro{om}/#/x", "table": "t" }`),
  "column that names nothing": withRoute(
    `{ "topic": "Home/{room}", "table": "t", "columns": { "r": "{rom}", "x": "@recieved", "y": "temperature", "z": "$.[" } }`,
  ),
  "wrong column type": withRoute(
    `{ "topic": "a", "table": "t", "columns": { "x": { "value": "$.x", "type": "strng" } } }`,
  ),
  "table placeholder": withRoute(`{ "topic": "a/{b}", "table": "t_{c}" }`),
  "no topic": withRoute(`{ "table": "t" }`),
  "retention without a time": withRoute(
    `{ "topic": "a/{b}", "table": "t", "columns": { "b": "{b}" }, "retention": "90d", "hourly": true }`,
  ),
  "retention that differs":
    `{ ${GOOD}, "routes": [\n    { "topic": "a", "table": "t", "retention": "90d" },\n    { "topic": "b", "table": "t" },\n` +
    `    { "topic": "c", "table": "t", "retention": "30d" }\n  ] }`,
  "hourly of texts": withRoute(
    `{ "topic": "a/{b}", "table": "t", "layout": "narrow", "hourly": { "by": ["room", "value"] } }`,
  ),
  "hourly of what is overwritten": withRoute(`{ "preset": "tasmota", "layout": "latest", "hourly": true }`),
  "hourly table of another route":
    `{ ${GOOD}, "routes": [\n    { "preset": "tasmota", "hourly": true },\n    { "topic": "b", "table": "tasmota_hourly" }\n  ] }`,
  "names that are no columns":
    `{ ${GOOD}, "routes": [\n    { "topic": "a", "table": "t", "columns": { "${
      "x".repeat(65)
    }": "$.x" } },\n` +
    `    { "topic": "b", "table": "u", "columns": { "Temp": "$.t", "temp": "$.u" } }\n  ] }`,
  "open status page": `{ ${GOOD}, "status": { "listen": "0.0.0.0:8088" } }`,
  "several at once": withRoute(`{ "topic": "a/+/{b", "tabel": "t", "decode": "jsn" }`),
};

Deno.test("no frame shows a password", () => {
  const text =
    `{ "broker": { "url": "mqtt://a:hush-hush@h", "password": "hush-hush", "colour": 1 }, "database": { "url": "mysql://b:hush-hush@h" } }`;
  try {
    parseConfig(text, "sluice.json");
  } catch (error) {
    const { findings, source } = error as WrongConfigurationError;
    assert.equal(findings.length, 2);
    assert.doesNotMatch(findings.map((it) => formatFinding(it, source)).join("\n"), /hush/);
  }
});

for (const [name, text] of Object.entries(MISTAKES)) {
  Deno.test(`a configuration with the mistake "${name}" is refused with a message that helps`, async () => {
    let message = "";
    try {
      parseConfig(text, "sluice.json");
    } catch (error) {
      assert.ok(error instanceof WrongConfigurationError, String(error));
      message = [...error.findings.map((it) => formatFinding(it, error.source)), `error: ${error.message}`]
        .join("\n\n");
    }
    assert.notEqual(message, "", "it was accepted");
    await assertGolden(GOLDEN, name.replaceAll(" ", "_"), message + "\n");
  });
}
