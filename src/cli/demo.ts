/**
 * `sluice demo`: the whole thing with nothing installed: an embedded broker, a simulated home, the gateway as `run` runs
 * it, an embedded database and the status page. A broker or a database that is given is used instead.
 */
import { sleep } from "../clock.ts";
import { parseConfig } from "../config/load.ts";
import type { Totals } from "../contracts.ts";
import { messageOf, UsageError } from "../errors.ts";
import { Faults } from "../faults.ts";
import { Service } from "../gateway/service.ts";
import { parseDuration } from "../units.ts";
import type { Command, Io } from "./command.ts";
import { VERSION } from "./version.ts";

const REPORT_EVERY_MS = 3_000;
/** Moments of the simulated home in a second. */
const RATE = 10;
/** Tenths of a second that the last messages may take to be stored at the end. */
const DRAIN_TRIES = 50;

export const demo: Command = {
  name: "demo",
  usage: "[--for 20s] [--broker URL] [--database URL]",
  summary: "the whole thing with nothing installed: broker, simulated home, database and status page",
  options: {
    for: { type: "string", value: "DURATION", summary: "end by itself; default: with Ctrl-C" },
    broker: { type: "string", value: "URL", summary: "use this broker instead of an embedded one" },
    database: { type: "string", value: "URL", summary: "use this database instead of an embedded one" },
    listen: {
      type: "string",
      value: "HOST:PORT",
      summary: "where the status page is; default 127.0.0.1:8088, or a free port",
    },
  },
  async run({ values }, io) {
    const until = typeof values.for === "string" ? duration(values.for) : undefined;
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.makeTempDir({ prefix: "sluice-demo-" });
    stack.defer(() => Deno.remove(dir, { recursive: true }).catch(() => {}));
    let broker = values.broker as string | undefined;
    if (!broker) {
      const { startEmbeddedBroker } = await import("../demo/broker.ts");
      broker = stack.use(await startEmbeddedBroker()).url;
    }
    const database = (values.database as string | undefined) ?? `sqlite:${dir}/home.db`;
    const listen = (values.listen as string | undefined) ?? freeListen();
    const { config } = parseConfig(
      JSON.stringify(demoConfig({ broker, database, listen, embedded: !values.broker })),
      `${dir}/sluice.json`,
    );
    const faults = new Faults({ log: { warn: io.err, info: io.err } });
    const service = stack.use(await Service.open(config, { faults, version: VERSION }));
    io.out(`status page: ${service.statusAddress}/`);
    io.out(
      `broker:      ${broker}   (try: mosquitto_pub -p ${
        URL.parse(broker)?.port
      } -t Home/office/climate -m '{"temperature":21}')`,
    );
    io.out(`database:    ${database.replace(/\/\/([^:@/]+):[^@/]*@/, "//$1:***@")}`);
    await run(service, broker, until, io);
    io.out("");
    for (const line of sums(service.totals)) io.out(line);
    return holds(service.totals) ? 0 : 1;
  },
};

function duration(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new UsageError(`--for: ${messageOf(error)}`);
  }
}

async function run(service: Service, broker: string, until: number | undefined, io: Io): Promise<void> {
  const stop = new AbortController();
  const quiet = new AbortController();
  const silent = AbortSignal.any([io.signal, quiet.signal]);
  const running = service.run(stop.signal);
  const publishing = publishHome(broker, silent);
  const reporting = report(service, io, silent);
  await Promise.race([sleep(until ?? 2 ** 31 - 1, silent).catch(() => {}), running, publishing]);
  quiet.abort();
  await Promise.all([publishing, reporting]);
  for (let i = 0; i < DRAIN_TRIES && service.totals.pending > 0; i++) await sleep(100);
  stop.abort(new DOMException("the demonstration ends", "AbortError"));
  await running;
}

/** Publishes the simulated home, and waits at the end until the broker has taken everything. */
async function publishHome(broker: string, signal: AbortSignal): Promise<void> {
  const [{ SimulatedHome }, mqtt] = await Promise.all([import("../demo/home.ts"), import("mqtt")]);
  const client = await mqtt.connectAsync(broker, { clientId: `home-${crypto.randomUUID().slice(0, 8)}` });
  try {
    await new SimulatedHome().live(
      async ({ topic, payload, retain }) =>
        void await client.publishAsync(topic, payload, { qos: 1, retain }),
      RATE,
      signal,
    );
  } finally {
    await client.endAsync();
  }
}

async function report(service: Service, io: Io, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(REPORT_EVERY_MS, signal).catch(() => {});
    const { received, stored, rows, dead, pending } = service.totals;
    io.out(`${received} arrived, ${stored} stored in ${rows} rows, ${dead} dead letters, ${pending} waiting`);
  }
}

/** The two sums of the promise. */
export function sums(it: Totals): string[] {
  return [
    `received ${it.received} = duplicate ${it.duplicate} + unrouted ${it.unrouted} + routed ${it.routed}`,
    `deliveries ${it.deliveries} = stored ${it.stored} + filtered ${it.filtered} + dead ${it.dead} + dropped ${it.dropped} + pending ${it.pending}`,
  ];
}

function holds(it: Totals): boolean {
  return it.received === it.duplicate + it.unrouted + it.routed &&
    it.deliveries === it.stored + it.filtered + it.dead + it.dropped + it.pending;
}

/** The usual port if it is free, else any. */
function freeListen(): string {
  for (const port of [8088, 0]) {
    try {
      const listener = Deno.listen({ hostname: "127.0.0.1", port });
      const { port: free } = listener.addr as Deno.NetAddr;
      listener.close();
      return `127.0.0.1:${free}`;
    } catch {
      // Someone has it; the next one.
    }
  }
  throw new Error("no free port on 127.0.0.1");
}

function demoConfig(it: { broker: string; database: string; listen: string; embedded: boolean }): unknown {
  return {
    name: "demo",
    // The embedded broker speaks MQTT 3.1.1.
    broker: { url: it.broker, clientId: "sluice-demo", version: it.embedded ? 4 : 5 },
    database: { url: it.database },
    spool: { path: "spool.db" },
    status: { listen: it.listen },
    routes: [
      {
        topic: "Home/{room}/climate",
        table: "climate",
        decode: "json",
        columns: {
          ts: "@received",
          room: "{room}",
          temperature: { value: "$.temperature", type: "double" },
          humidity: { value: "$.humidity", type: "double" },
          battery: { value: "$.battery", type: "tinyint unsigned" },
        },
      },
      {
        topic: "Home/tele/{plug}/SENSOR",
        table: "power",
        decode: "json",
        columns: {
          ts: "@received",
          plug: "{plug}",
          power: { value: "$.ENERGY.Power", type: "double" },
          total_kwh: { value: "$.ENERGY.Total", type: "double" },
        },
      },
      {
        topic: "Home/{device}/status/switch:0",
        table: "switches",
        decode: "json",
        columns: {
          ts: "@received",
          device: "{device}",
          output: { value: "$.output", type: "boolean" },
          power: { value: "$.apower", type: "double" },
        },
      },
      {
        topic: "Home/{node}/sensor/{name}/state",
        table: "sensors",
        decode: "number",
        columns: { ts: "@received", node: "{node}", name: "{name}", value: { value: "$", type: "double" } },
      },
      {
        topic: "Home/{node}/binary_sensor/{name}/state",
        table: "events",
        decode: "text",
        columns: { ts: "@received", node: "{node}", name: "{name}", state: { value: "$", type: "boolean" } },
      },
    ],
  };
}
