/**
 * Every message of devices.jsonl, which real devices and their documentation have said, through the preset of its
 * family; the rows are kept in presets.golden.json. `UPDATE=1` writes that file anew: read it as one who wants to query
 * the table.
 */
import assert from "node:assert/strict";
import { createRouter, expandPreset, PRESET, shapesOf } from "../../src/route/mod.ts";
import { PRESETS, type RouteOptions } from "../../src/route/options.ts";
import type { Delivery } from "../../src/message.ts";
import { delivery, problemsOf } from "./routed.ts";

const GOLDEN = new URL("./presets.golden.json", import.meta.url);
const DEVICES = new URL("../decode/devices.jsonl", import.meta.url);

/** What a person writes for each family of devices.jsonl. Those without a preset of their own may have `plain`. */
const ROUTES: Readonly<Record<string, readonly RouteOptions[]>> = {
  zigbee2mqtt: [{ preset: "zigbee2mqtt" }],
  tasmota: [{ preset: "tasmota" }, { preset: "tasmota", topic: "emoncms/ch2i/factory/%topic%/%prefix%/" }],
  shelly_gen1: [{ preset: "shelly" }],
  shelly_gen2: [{ preset: "shelly" }],
  esphome: [{ preset: "esphome" }],
  homie5: [{ preset: "homie" }],
  homie4: [{ preset: "homie" }],
  homeassistant: [{ preset: "homeassistant" }],
  sparkplug_b: [{ preset: "sparkplug" }],
  frigate: [{ preset: "frigate" }],
  rtl_433: [{ preset: "rtl_433" }],
  openmqttgateway: [{ preset: "openmqttgateway" }],
  victron: [{ preset: "victron" }],
  plain: [{ preset: "plain", topic: "sensors" }, { preset: "plain", topic: "switches" }],
  mqtt_smarthome: [{ preset: "plain", topic: "hm" }],
  opendtu: [{ preset: "plain", topic: "solar" }],
  teslamate: [{ preset: "plain", topic: "teslamate/cars" }],
  owntracks: [{ preset: "plain", topic: "owntracks" }],
};

/** Why a message of devices.jsonl makes no row. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  "zigbee2mqtt/z1/power": "repeats what the device's JSON says",
  "zigbee2mqtt/z1/state": "repeats what the device's JSON says",
  "zigbee2mqtt/bridge/state": "the bridge talks about itself",
  "zigbee2mqtt/bridge/logging": "the bridge talks about itself",
  "shellypro4pm-f008d1d8b8b8/events/rpc": "the connection to a cloud is nothing of the house",
  "homie/5/kitchen-light/light/brightness/$target": "attributes, which begin with $, are no readings",
  "homie/5/super-car/$description": "attributes, which begin with $, are no readings",
  "homie/5/mydevid/$alert/battery": "attributes, which begin with $, are no readings",
  "homie/super-car/$fw/version": "attributes, which begin with $, are no readings",
  "homeassistant/sensor/sensorBedroomT/config": "an announcement: `sluice discover` makes routes of it",
  "homeassistant/binary_sensor/garden/config": "an announcement: `sluice discover` makes routes of it",
  "homeassistant/switch/irrigation/config": "an announcement: `sluice discover` makes routes of it",
  "frigate/front_door/person/snapshot": "a JPEG image; no route takes it, so that it is not even spooled",
  "home/OpenMQTTGateway/BTtoMQTT/58782076BC24": "a random address of no known brand: telephones that pass by",
  "v3/temp-sens-jgo@ttn/devices/eui-7066e1fffe000eca/up": "a family without a preset",
  "application/1/device/0000000000000001/event/up": "a family without a preset",
  "$SYS/broker/clients/connected": "a family without a preset",
};

interface Line {
  readonly family: string;
  readonly topic: string;
  readonly payload?: string;
  readonly payload_base64?: string;
  readonly retain?: boolean;
}

const bytesOf = ({ payload, payload_base64 }: Line) =>
  payload_base64 === undefined ? new TextEncoder().encode(payload) : Uint8Array.fromBase64(payload_base64);

/** Messages through the routes as a gateway would send them, with the births before the data. */
function gateway(routes: readonly RouteOptions[]) {
  const router = createRouter({ routes: routes.flatMap(expandPreset), gateway: "attic" });
  return (topic: string, payload: string | Uint8Array, more: Partial<Delivery> = {}) => {
    const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
    const made = router.address(topic).map(({ lane, route }) =>
      router.decode(lane, [delivery(route, topic, "", { payload: bytes, ...more })])
    );
    const rows = made.flatMap((it) => it.rows).map(({ shape, values }) => ({
      table: shape.table,
      ...Object.fromEntries(shape.columns.map(({ name }, i) => [name, values[i]])),
    }));
    return { rows, dead: made.flatMap((it) => it.dead.map(({ reason }) => reason)) };
  };
}

interface Entry {
  readonly family: string;
  readonly topic: string;
  readonly payload: string;
  readonly leftOut?: string;
  readonly rows?: readonly object[];
  readonly dead?: readonly string[];
}

function table(): Entry[] {
  const gateways = new Map(Object.entries(ROUTES).map(([family, routes]) => [family, gateway(routes)]));
  const lines = Deno.readTextFileSync(DEVICES).trimEnd().split("\n").map((line): Line => JSON.parse(line));
  return lines.map((line) => {
    const { family, topic, payload = "(binary)" } = line;
    const { rows, dead } = gateways.get(family)?.(topic, bytesOf(line), { retain: line.retain ?? false }) ??
      { rows: [], dead: [] };
    const leftOut = rows.length === 0 ? LEFT_OUT[topic] : undefined;
    return {
      family,
      topic,
      payload,
      ...(leftOut ? { leftOut } : { rows }),
      ...(dead.length > 0 && { dead }),
    };
  });
}

/** A line for each row. */
function golden(entries: readonly Entry[]): string {
  const texts = entries.map(({ rows, ...entry }) => {
    const list = rows?.map((row) => `    ${JSON.stringify(row)}`).join(",\n");
    return Object.entries(entry).map(([key, it]) => `  ${JSON.stringify(key)}: ${JSON.stringify(it)}`)
      .concat(list === undefined ? [] : [`  "rows": [\n${list}\n  ]`]).join(",\n");
  });
  return `[\n${texts.map((it) => `{\n${it}\n}`).join(",\n")}\n]\n`;
}

Deno.test("every message of devices.jsonl makes the rows that are written down, or says why not", () => {
  const entries = table();
  const silent = entries.filter(({ rows }) => rows?.length === 0);
  assert.deepEqual(silent, [], "messages that are silently lost");
  if (Deno.env.has("UPDATE")) Deno.writeTextFileSync(GOLDEN, golden(entries));
  assert.deepEqual(JSON.parse(golden(entries)), JSON.parse(Deno.readTextFileSync(GOLDEN)));
});

const routesOf = (route: RouteOptions) => {
  assert.deepEqual(problemsOf(route), []);
  return expandPreset(route);
};

Deno.test("every preset is good, and its rows can share a table", () => {
  for (const preset of PRESETS) {
    const byTable = Map.groupBy(shapesOf(routesOf({ preset })), (it) => it.table);
    assert.ok(byTable.has(PRESET[preset].table), preset);
    for (const [table, [first, ...others]] of byTable) {
      const names = first.columns.map((it) => it.name);
      for (const { columns } of others) assert.deepEqual(columns.map((it) => it.name), names, table);
      if (table === PRESET[preset].table) {
        assert.deepEqual(names.filter((it) => it !== "measured_at"), [
          "received_at",
          "device",
          "name",
          "value",
          "text",
        ]);
      }
    }
  }
});

Deno.test("availability is one question in every family: a name, with 1 or 0 as value", () => {
  const send = gateway(PRESETS.map((preset) => ({ preset, table: "all" })));
  const said: [string, string, string, number][] = [
    ["zigbee2mqtt/a/b/availability", "online", "a/b", 1],
    ["tele/plug/LWT", "Offline", "plug", 0],
    ["shellies/ht/online", "false", "ht", 0],
    ["shellyplus1-a/online", "true", "shellyplus1-a", 1],
    ["porch/status", "offline", "porch", 0],
    ["homie/5/car/$state", "lost", "car", 0],
    ["homie/car/$state", "ready", "car", 1],
    ["homeassistant/status", "online", "homeassistant", 1],
    ["spBv1.0/STATE/host", '{"online":false,"timestamp":1}', "host", 0],
    ["frigate/available", "offline", "frigate", 0],
    ["home/omg/LWT", "online", "omg", 1],
  ];
  for (const [topic, payload, device, value] of said) {
    const { rows, dead } = send(topic, payload);
    assert.deepEqual(dead, [], topic);
    assert.deepEqual(rows.map((it) => pick(it, "device", "name", "value")), [{
      device,
      name: "availability",
      value,
    }], topic);
  }
});

function pick(row: object, ...names: string[]): object {
  return Object.fromEntries(Object.entries(row).filter(([name]) => names.includes(name)));
}

Deno.test("a message makes one row for each value, also with every preset at once", () => {
  const send = gateway(PRESETS.map((preset) => ({ preset })));
  const counts = table().filter(({ family }) => PRESETS.some((it) => family.startsWith(it) && it !== "plain"))
    .map(({ topic, payload, rows }) =>
      [topic, rows?.length ?? 0, payload === "(binary)" ? null : send(topic, payload).rows.length] as const
    );
  for (const [topic, alone, together] of counts) {
    if (together !== null) assert.equal(together, topic.startsWith("emoncms") ? 0 : alone, topic);
  }
});

Deno.test("traps that devices.jsonl does not hold", () => {
  const send = gateway(PRESETS.map((preset) => ({ preset })));
  const rows = (topic: string, payload: string) =>
    send(topic, payload).rows.map((it) => Object.values(pick(it, "device", "name", "value", "text")));
  assert.deepEqual(rows("porch/sensor/t/state", "nan"), [["porch", "sensor/t", null, "nan"]]);
  assert.deepEqual(rows("homeassistant/sensor/t/state", "unavailable"), [[
    "sensor.t",
    "state",
    null,
    "unavailable",
  ]]);
  assert.deepEqual(rows("Home/attic/humidity", "N/A"), [["attic", "humidity", null, "N/A"]]);
  assert.deepEqual(rows("N/x/battery/0/Soc", '{"value":null}'), [["x/battery/0", "Soc", null, null]]);
  assert.deepEqual(rows("shellies/em/emeter/0/energy", "90"), [["em", "emeter/0/energy_wh", 1.5, null]]);
  assert.deepEqual(rows("shellies/em/relay/0/command", "on"), []);
  assert.deepEqual(rows("shellyplus1-a/status/wifi", '{"rssi":-60}'), []);
  assert.deepEqual(
    rows(
      "shellyplus1-a/events/rpc",
      '{"method":"NotifyEvent","params":{"ts":1,"events":[{"component":"input:0","event":"single_push"}]}}',
    ),
    [["shellyplus1-a", "events.0.component", null, "input:0"], [
      "shellyplus1-a",
      "events.0.event",
      null,
      "single_push",
    ]],
  );
  assert.deepEqual(rows("zigbee2mqtt/lamp/set", '{"state":"ON"}'), []);
  assert.deepEqual(rows("zigbee2mqtt/lamp", '{"update":{"state":"idle"},"x":null}'), [
    ["lamp", "update.state", null, "idle"],
    ["lamp", "x", null, null],
  ]);
  assert.deepEqual(rows("stat/plug/RESULT", '{"POWER":"ON"}'), []);
  assert.deepEqual(rows("tele/plug/SENSOR", '{"DHT11":{"Temperature":null}}'), [[
    "plug",
    "DHT11.Temperature",
    null,
    null,
  ]]);
  assert.match(send("tele/plug/SENSOR", "{").dead[0], /not JSON/);
});
