import assert from "node:assert/strict";
import { encode as encodeMsgpack } from "@msgpack/msgpack";
import { encode as encodeCbor } from "cborg";
import fc from "fast-check";
import { DECODER, UnreadableError } from "../../src/decode/mod.ts";
import { payloadType } from "../../src/decode/sparkplug_message.ts";
import { DECODERS } from "../../src/route/options.ts";
import { data, hex, repeated, utf8 } from "./payloads.ts";

/** Reads, or refuses as a decoder may; the value is plain data, and nothing was done to the prototype of all objects. */
function attempt(name: string, payload: Uint8Array, topic = "spBv1.0/g/NBIRTH/n"): void {
  const before = payload.slice();
  try {
    const value = DECODER[name]!(payload, { topic, memory: new Map() });
    if (value !== payload) assertPlain(value, name);
  } catch (error) {
    assert.ok(error instanceof UnreadableError, `${name}: ${(error as Error).stack}`);
    assert.ok(name !== "auto" && name !== "bytes", `${name} refused a payload`);
    assert.ok(error.message.length > 10 && error.message.length < 500, error.message);
  }
  assert.deepEqual(payload, before, `${name} wrote to the payload`);
  assert.deepEqual(Object.keys(Object.prototype), []);
}

function assertPlain(value: unknown, name: string, levels = 0): void {
  if (value === null) return;
  if (value instanceof Uint8Array) return assert.equal(value.constructor, Uint8Array, name);
  if (typeof value !== "object") {
    assert.match(typeof value, /^(string|number|bigint|boolean)$/, name);
    if (typeof value === "bigint") assert.ok(!Number.isSafeInteger(Number(value)), `${name}: ${value}n`);
    return;
  }
  assert.ok(levels <= 110, `${name} is too deep`);
  if (!Array.isArray(value)) assert.equal(Object.getPrototypeOf(value), Object.prototype, name);
  for (const inner of Object.values(value)) assertPlain(inner, name, levels + 1);
}

/** Bytes that a decoder takes for good at first: real payloads, cut off or with bytes altered. */
const broken = fc.tuple(
  fc.oneof(
    data.map((value) => encodeCbor(value)),
    data.map((value) => encodeMsgpack(value, { useBigInt64: true })),
    fc.json().map(utf8),
    fc.array(fc.array(fc.string())).map((rows) => utf8(rows.map((row) => row.join()).join("\n"))),
    fc.array(fc.record({ name: fc.string(), datatype: fc.nat(36), bytesValue: fc.uint8Array() })).map((
      metrics,
    ) => payloadType().encode(payloadType().fromObject({ timestamp: 1, metrics })).finish()),
  ),
  fc.nat(),
  fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
).map(([payload, length, changes]) => {
  const bytes = payload.slice(0, length % 3 === 0 ? length % (payload.length + 1) : payload.length);
  for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
  return bytes;
});

Deno.test("every name of a decoder in a configuration has its decoder", () => {
  assert.deepEqual(Object.keys(DECODER).sort(), [...DECODERS].sort());
});

for (const name of DECODERS) {
  Deno.test(`${name} reads any bytes or refuses them`, () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (payload) => attempt(name, payload)), {
      numRuns: 2_000,
    });
    fc.assert(fc.property(broken, (payload) => attempt(name, payload)), { numRuns: 2_000 });
    for (let byte = 0; byte < 256; byte++) {
      for (const length of [1, 2, 3, 150, 100_000]) attempt(name, repeated(Uint8Array.of(byte), length));
    }
    attempt(name, hex(""));
  });
}
