import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { decodeSparkplug } from "../../src/decode/sparkplug.ts";
import { payloadType } from "../../src/decode/sparkplug_message.ts";
import { TYPES } from "../../src/decode/sparkplug_value.ts";
import { createRouter } from "../../src/route/mod.ts";
import { assertRefused, hex, joined, repeated, utf8, withOwn } from "./payloads.ts";

type Values = Record<string, unknown>;

interface Read {
  timestamp: unknown;
  seq: unknown;
  metrics: Values;
  list: Values[];
}

function encoded(message: Values): Uint8Array {
  return payloadType().encode(payloadType().fromObject(message)).finish();
}

const T = 1_714_564_800_000;
const typeNumber = (name: string) => TYPES.indexOf(name as typeof TYPES[number]);

/** A sender with a memory: the gateway's side of one route. */
function listener(memory = new Map<string, string>()) {
  return (topic: string, message: Values | Uint8Array) =>
    decodeSparkplug(message instanceof Uint8Array ? message : encoded(message), { topic, memory }) as Read;
}

/** The value of one metric of a type. */
function valueOf(type: string, fields: Values): unknown {
  const message = { timestamp: T, metrics: [{ name: "m", datatype: typeNumber(type), ...fields }] };
  return (decodeSparkplug(encoded(message)) as Read).metrics.m;
}

Deno.test("the messages of the specification are read as it prints them", () => {
  const lines = Deno.readTextFileSync(join(import.meta.dirname!, "devices.jsonl")).split("\n").filter(
    Boolean,
  );
  const samples = lines.map((line) => JSON.parse(line)).filter(({ family }) => family === "sparkplug_b");
  const read = listener();
  for (const { topic, payload, payload_base64, decoded } of samples) {
    const value = read(topic, payload_base64 ? Uint8Array.fromBase64(payload_base64) : utf8(payload));
    if (!decoded) assert.deepEqual(value, JSON.parse(payload));
    else {assert.deepEqual({ ...value, metrics: value.list, list: undefined }, {
        ...decoded,
        list: undefined,
      });}
  }
  assert.equal(samples.length, 4);
});

Deno.test("a data message gets names and types from the births of its node and of its device", () => {
  const read = listener();
  read("spBv1.0/g/NBIRTH/n", {
    timestamp: T,
    seq: 0,
    metrics: [
      { name: "node/load", alias: 1, datatype: typeNumber("Float"), floatValue: 0.5 },
      { name: "offset", datatype: typeNumber("Int16"), intValue: 0 },
    ],
  });
  read("spBv1.0/g/DBIRTH/n/d", {
    timestamp: T,
    seq: 1,
    metrics: [{ name: "temperature", alias: 2, datatype: typeNumber("Int32"), intValue: 1 }],
  });
  const data = read("spBv1.0/g/DDATA/n/d", {
    timestamp: T + 1,
    seq: 2,
    metrics: [{ alias: 2, intValue: 0xffffffff, timestamp: T }, { alias: 1, floatValue: 12.1 }],
  });
  assert.deepEqual(data, {
    timestamp: T + 1,
    seq: 2,
    metrics: { temperature: -1, "node/load": 12.1 },
    list: [
      { name: "temperature", type: "Int32", value: -1, alias: 2, timestamp: T },
      { name: "node/load", type: "Float", value: 12.1, alias: 1, timestamp: T + 1 },
    ],
  });
  const node = read("spBv1.0/g/NDATA/n", { timestamp: T, metrics: [{ name: "offset", intValue: 65535 }] });
  assert.deepEqual(node.metrics, { offset: -1 });
});

Deno.test("an alias belongs to its node, and a new birth takes the place of the old one", () => {
  const read = listener();
  const birth = (name: string) => ({ timestamp: T, metrics: [{ name, alias: 7, datatype: 3, intValue: 1 }] });
  const data = { timestamp: T, metrics: [{ alias: 7, intValue: 5 }] };
  assert.deepEqual(read("spBv1.0/g/NDATA/n", data).metrics, { "alias:7": 5 });
  read("spBv1.0/g/NBIRTH/n", birth("old"));
  assert.deepEqual(read("spBv1.0/g/NDATA/n", data).metrics, { old: 5 });
  assert.deepEqual(read("spBv1.0/g/NDATA/other", data).metrics, { "alias:7": 5 });
  assert.deepEqual(read("spBv1.0/other/NDATA/n", data).metrics, { "alias:7": 5 });
  read("spBv1.0/g/NBIRTH/n", birth("new"));
  assert.deepEqual(read("spBv1.0/g/NDATA/n", data).metrics, { new: 5 });
  assert.deepEqual(read("site/spBv1.0/g/NDATA/n", data).metrics, { new: 5 });
});

Deno.test("a birth is remembered over a restart of the gateway", () => {
  const route = {
    topic: "spBv1.0/{group}/{type}/{node}",
    table: "plant",
    decode: "sparkplug",
    columns: { temperature: "$.metrics.temperature" },
  } as const;
  const birth = { timestamp: T, metrics: [{ name: "temperature", alias: 7, datatype: 3, intValue: 1 }] };
  const data = { timestamp: T, metrics: [{ alias: 7, intValue: 5 }] };
  const memory = new Map<string, string>();
  const values = (type: string, message: Values) => {
    const router = createRouter({ routes: [route], gateway: "test", memory });
    const topic = `spBv1.0/g/${type}/n`;
    const [{ lane, route: id }] = router.address(topic);
    const delivery = {
      sequence: 1,
      route: id,
      topic,
      payload: encoded(message),
      qos: 0,
      retain: false,
    } as const;
    const decoded = router.decode(lane, [{ ...delivery, receivedAtMs: T }]);
    for (const [key, value] of decoded.memory) memory.set(key, value!);
    return decoded.rows.map((row) => row.values);
  };
  assert.deepEqual(values("NDATA", data), [[null]]);
  assert.deepEqual(values("NBIRTH", birth), [[1]]);
  assert.deepEqual(values("NDATA", data), [[5]]);
});

Deno.test("every integer comes back with its sign and all its digits", () => {
  const bits = { Int8: 8, Int16: 16, Int32: 32, Int64: 64, UInt8: 8, UInt16: 16, UInt32: 32, UInt64: 64 };
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(bits)), fc.bigInt(-(2n ** 64n), 2n ** 64n), (type, big) => {
      const width = bits[type as keyof typeof bits];
      const value = type.startsWith("U") ? BigInt.asUintN(width, big) : BigInt.asIntN(width, big);
      const fields = width === 64
        ? { longValue: String(BigInt.asUintN(64, value)) }
        : { intValue: Number(BigInt.asUintN(32, value)) };
      const expected = Number.isSafeInteger(Number(value)) ? Number(value) : value;
      assert.equal(valueOf(type, fields), expected);
    }),
  );
  assert.equal(valueOf("Int8", { intValue: 255 }), -1);
  assert.equal(valueOf("Unknown", { intValue: 0xffffffff }), 0xffffffff);
  assert.equal(valueOf("DateTime", { longValue: T }), T);
});

Deno.test("a Float is the shortest decimal that is the same float", () => {
  fc.assert(fc.property(fc.float(), (float) => {
    const value = valueOf("Float", { floatValue: float }) as number;
    assert.equal(Math.fround(value), float);
    assert.ok(String(value).length <= String(float).length, `${value} is no shorter than ${float}`);
  }));
  for (const decimal of [12.1, 0.1, 3.3, 1e-7, 16777.215]) {
    assert.equal(valueOf("Float", { floatValue: decimal }), decimal);
  }
});

Deno.test("values of every other type are plain data", () => {
  const cases: [string, Values, unknown][] = [
    ["Double", { doubleValue: 0.1 }, 0.1],
    ["Boolean", { booleanValue: false }, false],
    ["Boolean", { intValue: 1 }, true],
    ["String", { stringValue: "" }, ""],
    ["String", {}, null],
    ["Int32", { isNull: true, intValue: 3 }, null],
    ["Bytes", { bytesValue: hex("00ff") }, hex("00ff")],
    ["Int8Array", { bytesValue: hex("ff01") }, [-1, 1]],
    ["Int16Array", { bytesValue: hex("30d0 d02f") }, [-12240, 12240]],
    ["Int32Array", { bytesValue: hex("ffffffff") }, [-1]],
    ["UInt16Array", { bytesValue: hex("30d0") }, [53296]],
    ["UInt64Array", { bytesValue: hex("ffffffffffffffff") }, [2n ** 64n - 1n]],
    ["FloatArray", { bytesValue: hex("9a994141") }, [12.1]],
    ["DoubleArray", { bytesValue: hex("000000000000f03f") }, [1]],
    ["DateTimeArray", { bytesValue: hex("0100000000000000") }, [1]],
    ["BooleanArray", { bytesValue: hex("0c000000 34d0") }, [..."001101001101"].map((bit) => bit === "1")],
    ["StringArray", { bytesValue: utf8("ABC\0hello\0") }, ["ABC", "hello"]],
    ["StringArray", { bytesValue: hex("") }, []],
  ];
  for (const [type, fields, value] of cases) assert.deepEqual(valueOf(type, fields), value, type);
});

Deno.test("a data set is rows, a template its metrics, properties an object", () => {
  const datasetValue = {
    columns: ["t", "__proto__"],
    types: [typeNumber("Int32"), typeNumber("String")],
    rows: [{ elements: [{ intValue: 4294967295 }, { stringValue: "x" }] }],
  };
  assert.deepEqual(valueOf("DataSet", { datasetValue }), [
    Object.assign(withOwn("__proto__", "x"), { t: -1 }),
  ]);
  const templateValue = {
    templateRef: "motor",
    metrics: [{ name: "rpm", datatype: typeNumber("Int16"), intValue: 65535 }],
    parameters: [{ name: "poles", type: typeNumber("UInt8"), intValue: 4 }],
  };
  assert.deepEqual(valueOf("Template", { templateValue }), {
    template: "motor",
    version: null,
    definition: false,
    metrics: { rpm: -1 },
    parameters: { poles: 4 },
  });
  const properties = {
    keys: ["unit", "limits"],
    values: [
      { type: 12, stringValue: "°C" },
      { type: 20, propertysetValue: { keys: ["high"], values: [{ type: 10, doubleValue: 90 }] } },
    ],
  };
  const metric = {
    name: "m",
    stringValue: "v",
    properties,
    isHistorical: true,
    metadata: { size: 3, md5: "x" },
  };
  assert.deepEqual((decodeSparkplug(encoded({ metrics: [metric] })) as Read).list, [{
    name: "m",
    type: "Unknown",
    value: "v",
    historical: true,
    properties: { unit: "°C", limits: { high: 90 } },
    metadata: { size: 3, md5: "x" },
    timestamp: null,
  }]);
});

Deno.test("a metric called __proto__ is a metric", () => {
  const { metrics } = decodeSparkplug(encoded({ metrics: [{ name: "__proto__", intValue: 1 }] })) as Read;
  assert.deepEqual(metrics, withOwn("__proto__", 1));
});

Deno.test("a message has a uuid, a body and no metrics if it likes; a host's state is JSON or a word", () => {
  const read = listener();
  assert.deepEqual(read("spBv1.0/g/NCMD/n", { seq: 9, uuid: "u", body: hex("00ff") }), {
    timestamp: null,
    seq: 9,
    uuid: "u",
    body: hex("00ff"),
    metrics: {},
    list: [],
  } as unknown as Read);
  assert.deepEqual(read("spBv1.0/STATE/scada", utf8('{"online":true}')), { online: true } as unknown as Read);
  assert.equal(read("STATE/scada", utf8("OFFLINE")), "OFFLINE" as unknown as Read);
});

Deno.test("what is no Sparkplug B is refused with the place", () => {
  const metric = (fields: Values) => encoded({ timestamp: T, metrics: [fields] });
  assertRefused(decodeSparkplug, hex(""), /not Sparkplug B: the payload is empty/);
  assertRefused(decodeSparkplug, utf8('{"a":1}'), /not Sparkplug B, read up to byte \d+: /);
  assertRefused(decodeSparkplug, hex("1801"), /neither a timestamp nor metrics nor a body/);
  assertRefused(decodeSparkplug, hex("12ff"), /index out of range/);
  assertRefused(decodeSparkplug, hex("12030a01b0"), /not Sparkplug B, read up to byte 5: .*utf-?8/i);
  assertRefused(decodeSparkplug, metric({ intValue: 1 }), /metric 1 has neither a name nor an alias/);
  const wrong: [string, string, RegExp][] = [
    ["Int16Array", "00", /metric "m": Int16Array of 1 bytes/],
    ["BooleanArray", "00", /BooleanArray of 1 bytes/],
    ["BooleanArray", "ffffffff", /BooleanArray of 4 bytes/],
    ["StringArray", "61", /without a zero byte at its end/],
    ["StringArray", "b000", /not valid UTF-8/],
  ];
  for (const [type, bytes, reason] of wrong) {
    const payload = metric({ name: "m", datatype: typeNumber(type), bytesValue: hex(bytes) });
    assertRefused(decodeSparkplug, payload, reason);
  }
});

Deno.test("a Sparkplug message that is too deep or too large is refused", () => {
  const build = (levels: number) => {
    let bytes = hex("0a016d");
    for (let i = 0; i < levels; i++) bytes = joined(hex("0a016d"), field(18, field(2, bytes)));
    return field(2, bytes);
  };
  assert.ok(decodeSparkplug(build(40)));
  assertRefused(decodeSparkplug, build(60), /max depth exceeded/);
  assertRefused(decodeSparkplug, build(1_000), /max depth exceeded/);
  assertRefused(decodeSparkplug, repeated(hex("6b"), 100_000), /not Sparkplug B/);
  assertRefused(decodeSparkplug, repeated(hex("1200"), 300_000), /more than 250000 fields/);
  assertRefused(decodeSparkplug, repeated(hex("7800"), 300_000), /more than 250000 fields/);
  assertRefused(decodeSparkplug, repeated(hex("1200"), 3_000_000), /as Sparkplug B it may have 4194304/);
});

Deno.test("a few bytes that stand for many values are refused", () => {
  const bits = joined(hex("00 12 7a 00"), new Uint8Array(1_000_000));
  assert.throws(() => valueOf("BooleanArray", { bytesValue: bits }), /BooleanArray of 8000000 values/);
  assert.throws(() => valueOf("Int8Array", { bytesValue: bits }), /Int8Array of 1000004 values/);
  const rows = joined(repeated(hex("1200"), 50_000), repeated(hex("2200"), 50_000));
  const payload = field(2, joined(hex("0a016d"), field(17, rows)));
  assertRefused(decodeSparkplug, payload, /metric "m": DataSet of 2500000000 values; 250000 are the limit/);
});

/** A field with a length, as Protocol Buffers write it. */
function field(id: number, content: Uint8Array): Uint8Array {
  return joined(varint(id * 8 + 2), varint(content.length), content);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return Uint8Array.from([...bytes, value]);
}
