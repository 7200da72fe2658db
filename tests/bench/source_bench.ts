/**
 * The source alone, beside `mosquitto_sub -q 1`: messages a second and processor time for a message, acknowledged at
 * once and stored nowhere.
 *
 *   deno run -A tests/bench/source_bench.ts [--count 200000] [--rounds 3]
 *
 * "queued": the messages wait in a session, so that only the broker and the subscriber work. "live": they are published
 * at the same time, which takes most of a small machine. Prints Markdown. Only the ratios of one run mean something.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { openSource } from "../../src/mqtt/source.ts";
import { type Mosquitto, startMosquitto } from "../servers/mosquitto.ts";
import { mosquittoSession } from "../servers/mosquitto_clients.ts";
import { run } from "../servers/server_process.ts";
import { waitFor } from "../servers/wait_for.ts";
import { median } from "./process.ts";

const TOPIC = "Home/#";
const CLIENT = "bench";
const here = (path: string) => new URL(path, import.meta.url).pathname;

interface Result {
  readonly perSecond: number;
  readonly cpuMicroseconds: number;
}

type Version = 4 | 5;
type Subscriber = (broker: Mosquitto, version: Version, count: number) => Promise<Result>;

/** The child process: pulls and acknowledges `count` messages, then tells its time and processor time. */
async function consume(url: string, version: Version, count: number): Promise<void> {
  await using source = openSource({
    url,
    version,
    clientId: CLIENT,
    filters: [TOPIC],
    qos: 1,
    previousFilters: [TOPIC],
  });
  let received = 0;
  let startedAt = 0;
  let cpu = process.cpuUsage();
  for await (const arrivals of source.arrivals(new AbortController().signal)) {
    if (received === 0) {
      startedAt = performance.now();
      cpu = process.cpuUsage();
    }
    source.acknowledge(arrivals);
    for (const { kind } of arrivals) if (kind === "publish") received++;
    if (received >= count) break;
  }
  const used = process.cpuUsage(cpu);
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(JSON.stringify({ seconds, cpuSeconds: (used.user + used.system) / 1e6 }));
}

const sluiceSource: Subscriber = async (broker, version, count) => {
  const args = ["run", "-A", here("source_bench.ts"), "--consume", broker.url];
  const out = await run("deno", [...args, "--version", `${version}`, "--count", `${count}`]);
  const { seconds, cpuSeconds } = JSON.parse(out);
  return { perSecond: count / seconds, cpuMicroseconds: cpuSeconds / count * 1e6 };
};

const mosquittoSub: Subscriber = async (broker, version, count) => {
  const session = version === 5 ? "-V 5 -x 3600 -D connect receive-maximum 1000" : "-V 311";
  const command = `mosquitto_sub -p ${broker.port} -t '${TOPIC}' -q 1 -c -i ${CLIENT} ${session} -C ${count}`;
  const script = `TIMEFORMAT='%R %U %S'; { time ${command} >/dev/null; } 2>&1`;
  const [real, user, system] = (await run("bash", ["-c", script])).trim().split(" ").map(Number);
  return { perSecond: count / real!, cpuMicroseconds: (user! + system!) / count * 1e6 };
};

const SUBSCRIBERS: Readonly<Record<string, Subscriber>> = {
  "sluice source": sluiceSource,
  "mosquitto_sub -q 1": mosquittoSub,
};

async function publishLoad(broker: Mosquitto, count: number): Promise<void> {
  await run("deno", ["run", "-A", here("load.ts"), "--port", `${broker.port}`, "--count", `${count}`]);
}

async function queued(subscriber: Subscriber, version: Version, count: number): Promise<Result> {
  await using broker = await startMosquitto();
  await mosquittoSession(broker.url, TOPIC, { clientId: CLIENT, version });
  await publishLoad(broker, count);
  return await subscriber(broker, version, count);
}

async function live(subscriber: Subscriber, version: Version, count: number): Promise<Result> {
  await using broker = await startMosquitto();
  await mosquittoSession(broker.url, TOPIC, { clientId: CLIENT, version });
  const running = subscriber(broker, version, count);
  const log = () => broker.log(1000).match(new RegExp(`connected from .* as ${CLIENT} `, "g"))?.length ?? 0;
  await waitFor(() => log() >= 2, { what: "the subscriber" });
  const [result] = await Promise.all([running, publishLoad(broker, count)]);
  return result;
}

async function compare(count: number, rounds: number): Promise<void> {
  console.log(`${count} messages at QoS 1, median of ${rounds} rounds\n`);
  console.log("| scene | MQTT | subscriber | messages/s | CPU microseconds/message |\n|---|---|---|---|---|");
  for (const [scene, measure] of Object.entries({ queued, live })) {
    for (const version of [5, 4] as const) {
      for (const [name, subscriber] of Object.entries(SUBSCRIBERS)) {
        const results: Result[] = [];
        for (let round = 0; round < rounds; round++) results.push(await measure(subscriber, version, count));
        const rate = Math.round(median(results.map(({ perSecond }) => perSecond)));
        const cpu = median(results.map(({ cpuMicroseconds }) => cpuMicroseconds)).toFixed(1);
        console.log(`| ${scene} | ${version === 5 ? "5" : "3.1.1"} | ${name} | ${rate} | ${cpu} |`);
      }
    }
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      consume: { type: "string" },
      version: { type: "string", default: "5" },
      count: { type: "string", default: "200000" },
      rounds: { type: "string", default: "3" },
    },
  });
  const count = Number(values.count);
  if (values.consume) await consume(values.consume, values.version === "4" ? 4 : 5, count);
  else await compare(count, Number(values.rounds));
}
