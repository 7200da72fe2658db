import assert from "node:assert/strict";
import { readDiscovery } from "../../src/discover/home_assistant.ts";
import { Observation } from "../../src/discover/observation.ts";
import { propose } from "../../src/discover/proposal.ts";
import type { Message } from "../../src/message.ts";

const message = (topic: string, payload: unknown): Message => ({
  topic,
  payload: new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload)),
  qos: 0,
  retain: false,
  receivedAtMs: 0,
});

function heard(...messages: [string, unknown][]): Observation {
  const observation = new Observation();
  for (const [topic, payload] of messages) observation.add(message(topic, payload));
  return observation;
}

Deno.test("devices of one kind become one route, whose placeholders are the levels in which they differ", () => {
  const [proposal, ...rest] = propose(heard(
    ["Home/kitchen/climate", { temperature: 21.5, humidity: 40 }],
    ["Home/attic/climate", { temperature: 19, humidity: 55.5, battery: 97 }],
  ));
  assert.equal(rest.length, 0);
  assert.deepEqual(proposal.route, {
    topic: "Home/{device}/climate",
    table: "climate",
    decode: "json",
    columns: {
      received_at: "@received",
      device: "{device}",
      temperature: { value: "$.temperature", type: "double" },
      humidity: { value: "$.humidity", type: "double" },
      battery: { value: "$.battery", type: "double" },
    },
  });
});

Deno.test("families that have a preset are proposed as the preset", () => {
  const proposals = propose(heard(
    ["zigbee2mqtt/bedroom_climate", { temperature: 27.34, humidity: 44.72 }],
    ["tele/pow1/SENSOR", { Time: "2018-02-15T17:37:10", ENERGY: { Power: 2635 } }],
    ["shellyplus1-a8032abe54dc/status/switch:0", { id: 0, output: true }],
    ["N/e0ff50a097c0/pvinverter/20/Ac/Power", { value: 936 }],
    ["livingroom/sensor/outside_temperature/state", "21.5"],
  ));
  assert.deepEqual(proposals.map(({ route }) => route.preset), [
    "zigbee2mqtt",
    "tasmota",
    "shelly",
    "victron",
    "esphome",
  ]);
});

Deno.test("types hold everything that was heard", () => {
  const [{ route }] = propose(heard(
    ["Home/x/all", {
      n: 1,
      on: true,
      at: "2026-01-01T00:00:00Z",
      text: "short",
      mixed: 1,
      nested: { deep: 2 },
      list: [1],
    }],
    ["Home/y/all", {
      n: 2.5,
      on: false,
      at: "2026-01-01T00:00:01Z",
      text: "x".repeat(300),
      mixed: "one",
      nested: { deep: 3 },
      list: [],
    }],
  ));
  const types = Object.fromEntries(
    Object.entries(route.columns!).filter(([, it]) => typeof it === "object").map((
      [name, it],
    ) => [name, (it as { type: string }).type]),
  );
  assert.deepEqual(types, {
    n: "double",
    on: "boolean",
    at: "datetime(3)",
    text: "text",
    mixed: "varchar(64)",
    nested_deep: "double",
    list: "json",
  });
});

Deno.test("keys that are no names are quoted in paths and made names in columns", () => {
  const [{ route }] = propose(heard(["Home/plug/all", { "switch:0": { apower: 1.5 }, "DS18B20-1": 20.9 }]));
  assert.deepEqual(Object.entries(route.columns!).slice(1), [
    ["switch_0_apower", { value: '$["switch:0"].apower', type: "double" }],
    ["ds18b20_1", { value: '$["DS18B20-1"]', type: "double" }],
  ]);
});

Deno.test("plain values, hostile payloads and $SYS do no harm", () => {
  const proposals = propose(heard(
    ["Home/cellar/humidity", "55"],
    ["Home/attic/humidity", "54.5"],
    ["$SYS/broker/uptime", "1 second"],
    ["Home/evil/json", '{"__proto__": {"polluted": 1}}'],
  ));
  assert.deepEqual(proposals.map(({ route }) => [route.topic, route.decode]), [
    ["Home/{device}/humidity", "number"],
    ["Home/evil/json", "json"],
  ]);
  assert.equal(({} as { polluted?: number }).polluted, undefined);
});

Deno.test("Home Assistant's discovery gives units, abbreviated or not", () => {
  const [announced] = readDiscovery(message("homeassistant/sensor/a/config", {
    "~": "Home/kitchen",
    stat_t: "~/climate",
    val_tpl: "{{ value_json.temperature | round(1) }}",
    unit_of_meas: "°C",
  }));
  assert.deepEqual({ topic: announced.stateTopic, path: announced.path, unit: announced.unit }, {
    topic: "Home/kitchen/climate",
    path: ["temperature"],
    unit: "°C",
  });
  const [{ route }] = propose(heard(["Home/kitchen/climate", { temperature: 20 }]), {
    announced: [announced],
  });
  assert.deepEqual(route.columns!.temperature, { value: "$.temperature", type: "double", unit: "°C" });
  const nothing = ["", "[]", "null", "7", { stat_t: "x", val_tpl: "{% if x %}" }, { stat_t: "a/#" }, {
    cmps: { a: 1 },
  }];
  for (const it of nothing) assert.deepEqual(readDiscovery(message("homeassistant/sensor/a/config", it)), []);
});

Deno.test("one announcement for a whole device gives the units of all its parts", () => {
  const announced = readDiscovery(message("homeassistant/device/0AFFD2/config", {
    dev: { ids: "ea334450945afc", name: "Kitchen" },
    o: { name: "bla2mqtt" },
    "~": "bla/$&",
    stat_t: "~/state",
    cmps: {
      t: { p: "sensor", dev_cla: "temperature", unit_of_meas: "°C", val_tpl: "{{ value_json.temperature }}" },
      h: { p: "sensor", unit_of_measurement: "%", value_template: "{{ value_json['hum:1'] }}" },
      own: { p: "binary_sensor", state_topic: "bla/door", val_tpl: "{{ value }}" },
    },
  }));
  assert.deepEqual(announced.map(({ stateTopic, path, unit }) => [stateTopic, path, unit]), [
    ["bla/$&/state", ["temperature"], "°C"],
    ["bla/$&/state", ["hum:1"], "%"],
    ["bla/door", [], undefined],
  ]);
});

Deno.test("where a family's preset may not be used, its readings are grouped by shape", () => {
  const proposals = propose(
    heard(
      ["zigbee2mqtt/bedroom", { temperature: 27.3, humidity: 44.7, linkquality: 80 }],
      ["zigbee2mqtt/bath", { temperature: 22, humidity: 60, linkquality: 70, battery: 90 }],
      ["zigbee2mqtt/plug", { state: "ON", power: 12, energy: 3 }],
      ["zigbee2mqtt/bridge/state", { state: "online" }],
      ["shellyplus1-a/status/switch:0", { id: 0, output: true }],
      ["shellyplus1-b/status/switch:0", { id: 0, output: false }],
    ),
    { allows: (preset) => preset !== "zigbee2mqtt" && preset !== "shelly", tables: ["status_switch_0"] },
  );
  assert.deepEqual(proposals.map(({ route, kind }) => [route.topic, route.table, kind]), [
    ["zigbee2mqtt/{device}", "zigbee2mqtt", "Zigbee2MQTT: JSON objects"],
    ["zigbee2mqtt/plug", "plug", "Zigbee2MQTT: JSON objects"],
    ["{device}/status/switch:0", "switch_0", "Shelly: JSON objects"],
  ]);
});

Deno.test("a table that has an owner gets a neighbour, and digits that a number would not keep stay text", () => {
  const [{ route }] = propose(
    heard(["Home/meter/all", {
      serial: "0049123",
      long: "12345678901234567890",
      reading: "12.5",
      at: "2026-01-01T00:00:00Z",
      local: "2026-01-01T00:00:00",
    }]),
    { tables: ["meter_all"], zone: "Europe/Berlin" },
  );
  assert.equal(route.table, "meter_all_2");
  assert.deepEqual(Object.values(route.columns!).slice(1), [
    { value: "$.serial", type: "varchar(64)" },
    { value: "$.long", type: "varchar(64)" },
    { value: "$.reading", type: "double" },
    { value: "$.at", type: "datetime(3)", time: "iso" },
    { value: "$.local", type: "datetime(3)", time: "local", zone: "Europe/Berlin" },
  ]);
});
