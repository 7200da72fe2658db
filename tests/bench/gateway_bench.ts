/**
 * The whole way from publisher to committed row, beside the rival programs, in one run on one machine.
 *
 *   deno run -A tests/bench/gateway_bench.ts [throughput] [latency] [backlog] [bytes]
 *
 * Prints Markdown. A figure means something only as a ratio within one run: the load generator, the broker and the
 * database share the machine with what is measured. Rivals that are not installed are left out, and it says so.
 */
import { createConnection } from "mysql2/promise";
import { Sluice } from "../e2e/sluice.ts";
import type { Database } from "../servers/database.ts";
import { startMariadb } from "../servers/mariadb.ts";
import { type Mosquitto, startMosquitto } from "../servers/mosquitto.ts";
import { waitFor } from "../servers/wait_for.ts";
import { cpuSeconds, diskBytes, ended, median, percentile, residentMb, spawn } from "./process.ts";

const TABLE =
  "CREATE TABLE IF NOT EXISTS climate (id bigint AUTO_INCREMENT PRIMARY KEY, ts datetime(3), topic varchar(80), " +
  "temperature double, humidity double, battery int, sent bigint)";

const here = (path: string) => new URL(path, import.meta.url).pathname;

/** A program that stores climate messages, while it runs. */
interface Contestant extends AsyncDisposable {
  readonly pid: number;
}

interface World {
  readonly broker: Mosquitto;
  readonly database: Database;
}

function sluiceConfig({ broker, database }: World, linger: string): Record<string, unknown> {
  return {
    broker: { url: broker.url, clientId: "bench" },
    database: { url: database.url() },
    spool: { path: "spool.db", linger, maxSize: "20GiB" },
    routes: [{
      topic: "Home/{room}/climate",
      table: "climate",
      decode: "json",
      columns: {
        ts: "@received",
        topic: "@topic",
        temperature: "$.temperature",
        humidity: "$.humidity",
        battery: "$.battery",
        sent: "$.t",
      },
    }],
  };
}

async function startSluice(world: World, linger = "10ms"): Promise<Contestant & { sluice: Sluice }> {
  const sluice = await Sluice.start({ config: sluiceConfig(world, linger) });
  await sluice.until(
    "the broker to be connected",
    (status) => status.broker.connected && status.database.reachable,
  );
  return { sluice, pid: sluice.pid, [Symbol.asyncDispose]: () => sluice[Symbol.asyncDispose]() };
}

async function startArticle({ broker, database }: World, count: number): Promise<Contestant> {
  const script = await Deno.readTextFile(here("rivals/article_pipeline.py"));
  const file = await Deno.makeTempFile({ suffix: ".py" });
  await Deno.writeTextFile(file, script.replace("gw:gwpass@", "sluice:secret@"));
  const child = spawn("/usr/bin/python3", [file, `${count}`, `${broker.port}`, `${database.port}`]);
  await waitFor(() => child.output().includes("ready"), { what: "the article's program to subscribe" })
    .catch((error) => {
      throw new Error(`${error.message}\n${child.output()}`);
    });
  return { pid: child.pid, [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() };
}

/** Needs node-red and node-red-node-mysql in $NODE_RED_DIR/node_modules. */
async function startNodeRed({ broker, database }: World): Promise<Contestant | null> {
  const installed = Deno.env.get("NODE_RED_DIR");
  if (!installed) return null;
  const dir = await Deno.makeTempDir();
  await Deno.symlink(`${installed}/node_modules`, `${dir}/node_modules`);
  const flows = (await Deno.readTextFile(here("rivals/nodered_flows.json")))
    .replace('"11883"', `"${broker.port}"`).replace('"13306"', `"${database.port}"`);
  await Deno.writeTextFile(`${dir}/flows.json`, flows);
  await Deno.writeTextFile(
    `${dir}/flows_cred.json`,
    JSON.stringify({ d1: { user: "sluice", password: "secret" } }),
  );
  await Deno.writeTextFile(
    `${dir}/settings.js`,
    `module.exports = { uiPort: 0, flowFile: "flows.json", credentialSecret: false, logging: { console: { level: "info" } } };`,
  );
  const child = spawn("node", [
    `${installed}/node_modules/node-red/red.js`,
    "-u",
    dir,
    "-s",
    `${dir}/settings.js`,
  ]);
  await waitFor(() => /Connected to broker/.test(child.output()), {
    what: "Node-RED to connect",
    timeoutMs: 60_000,
  })
    .catch((error) => {
      throw new Error(`${error.message}\n${child.output()}`);
    });
  return { pid: child.pid, [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() };
}

/** The load generator, with its options beside the port. */
const publishing = ({ port }: Mosquitto, ...options: string[]) =>
  spawn(Deno.execPath(), ["run", "-A", here("load.ts"), "--port", `${port}`, ...options]);

const rowCount = async (database: Database) =>
  Number((await database.admin("SELECT count(*) AS n FROM home.climate"))[0].n);

interface Throughput {
  readonly perSecond: number;
  readonly cpuMs: number;
  readonly residentMb: number;
}

/** Publishes `count` messages as fast as possible and waits for the last committed row. */
async function throughput(world: World, contestant: Contestant, count: number): Promise<Throughput> {
  await world.database.admin("TRUNCATE home.climate");
  const cpuBefore = cpuSeconds(contestant.pid);
  const started = performance.now();
  await using load = publishing(world.broker, "--count", `${count}`);
  let peakMb = 0;
  let cpu = cpuBefore;
  await waitFor(async () => {
    peakMb = Math.max(peakMb, residentMb(contestant.pid));
    cpu = Math.max(cpu, cpuSeconds(contestant.pid));
    return await rowCount(world.database) >= count;
  }, { what: `${count} rows`, timeoutMs: 300_000 });
  const seconds = (performance.now() - started) / 1_000;
  await ended(load);
  return { perSecond: count / seconds, cpuMs: 1_000 * (cpu - cpuBefore) / count, residentMb: peakMb };
}

/** The broker alone: the same load into `mosquitto_sub -q 1`. */
async function brokerCeiling({ broker }: World, count: number): Promise<number> {
  await using subscriber = spawn("mosquitto_sub", [
    "-p",
    `${broker.port}`,
    "-t",
    "Home/#",
    "-q",
    "1",
    "-C",
    `${count}`,
    "-F",
    "%l",
  ]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const started = performance.now();
  await using _load = publishing(broker, "--count", `${count}`);
  await ended(subscriber);
  return count / ((performance.now() - started) / 1_000);
}

/** The database alone: the same rows by multi-row INSERT over one connection. */
async function databaseCeiling({ database }: World, count: number): Promise<number> {
  await database.admin("TRUNCATE home.climate");
  const connection = await createConnection({ uri: database.url() });
  const row = ["2026-01-01 00:00:00.000", "Home/room1/climate", 20.5, 50, 7, 1_700_000_000_000];
  const rows = Array.from({ length: 500 }, () => row);
  const started = performance.now();
  for (let done = 0; done < count; done += rows.length) {
    await connection.query("INSERT INTO climate (ts, topic, temperature, humidity, battery, sent) VALUES ?", [
      rows,
    ]);
  }
  const perSecond = count / ((performance.now() - started) / 1_000);
  await connection.end();
  return perSecond;
}

async function throughputTable(world: World): Promise<void> {
  console.log(
    "\n| QoS 1, publisher to committed row | messages/s | of the broker's own rate | CPU for a message | resident memory |",
  );
  console.log("|---|---:|---:|---:|---:|");
  const broker = median([await brokerCeiling(world, 100_000), await brokerCeiling(world, 100_000)]);
  const line = (name: string, { perSecond, cpuMs, residentMb }: Throughput) =>
    console.log(
      `| ${name} | ${Math.round(perSecond)} | ${Math.round(100 * perSecond / broker)} % | ${
        (1_000 * cpuMs).toFixed(1)
      } µs | ${Math.round(residentMb)} MB |`,
    );
  console.log(`| the broker alone (\`mosquitto_sub -q 1\`) | ${Math.round(broker)} | 100 % | | |`);
  console.log(
    `| the database alone (multi-row \`INSERT\`) | ${
      Math.round(await databaseCeiling(world, 200_000))
    } | | | |`,
  );
  {
    await using contestant = await startSluice(world);
    await throughput(world, contestant, 20_000);
    for (let i = 0; i < 2; i++) line("Sluice", await throughput(world, contestant, 200_000));
  }
  {
    await using contestant = await startArticle(world, 5_000);
    line("the article's program (asyncio-mqtt, SQLAlchemy)", await throughput(world, contestant, 5_000));
  }
  await using nodeRed = await startNodeRed(world);
  if (nodeRed) line("Node-RED with its MySQL node", await throughput(world, nodeRed, 20_000));
  else {console.log(
      "| Node-RED | left out: set NODE_RED_DIR to a folder with `npm i node-red node-red-node-mysql` | | | |",
    );}
}

/**
 * From the moment at which a message is sent to the first at which another connection sees its row, in milliseconds. The
 * load says when it begins; message n leaves at 5 n ms after that.
 */
async function latency(world: World, count: number): Promise<string> {
  await world.database.admin("TRUNCATE home.climate");
  const reader = await createConnection({ uri: world.database.url() });
  await using load = publishing(world.broker, "--count", `${count}`, "--rate", "200", "--clients", "1");
  const seen: number[] = [];
  let last = 0;
  while (seen.length < count) {
    const [rows] = await reader.query("SELECT id FROM climate WHERE id > ? ORDER BY id", [last]);
    const now = performance.timeOrigin + performance.now();
    for (const { id } of rows as { id: number }[]) {
      last = id;
      seen.push(now);
    }
  }
  await ended(load);
  await reader.end();
  const { startedAt } = JSON.parse(load.output().split("\n")[0]);
  const late = seen.map((at, n) => at - startedAt - 5 * (n + 1));
  return [50, 99].map((it) => `${percentile(late, it).toFixed(1)} ms`).join(" | ");
}

async function latencyTable(world: World): Promise<void> {
  console.log("\n| publish to visible row, 200 messages/s, `linger` 0 | p50 | p99 |\n|---|---:|---:|");
  {
    await using _sluice = await startSluice(world, "0ms");
    await latency(world, 400);
    console.log(`| Sluice, with its fsync | ${await latency(world, 4_000)} |`);
  }
  await using _article = await startArticle(world, 5_000);
  await latency(world, 400);
  console.log(`| the article's program | ${await latency(world, 4_000)} |`);
}

/** What waits while the database stands still, and what it costs to get rid of it: `BACKLOG=10000000` for more. */
async function backlogTable(world: World): Promise<void> {
  const most = Number(Deno.env.get("BACKLOG") ?? 5_000_000);
  await using contestant = await startSluice(world);
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  const idleMb = residentMb(contestant.pid);
  console.log("\n| messages that wait | resident memory | CPU to store one of them | stored a second |");
  console.log(`|---:|---:|---:|---:|\n| 0, at rest | ${Math.round(idleMb)} MB | | |`);
  // Once for the compiler.
  await backlog(world, contestant, 100_000);
  for (const count of [100_000, most]) {
    const { waitingMb, slices } = await backlog(world, contestant, count);
    for (const { name, cpuUs, perSecond } of slices) {
      const memory = `${Math.round(waitingMb)} MB`;
      console.log(`| ${count}${name} | ${memory} | ${cpuUs.toFixed(1)} µs | ${Math.round(perSecond)} |`);
    }
  }
  console.log(`| 0, afterwards | ${Math.round(residentMb(contestant.pid))} MB | | |`);
}

interface Slice {
  readonly name: string;
  readonly cpuUs: number;
  readonly perSecond: number;
}

/** Lets so many messages wait, and looks at the first and the last 90,000 of them as they go. */
async function backlog(
  world: World,
  { sluice, pid }: Awaited<ReturnType<typeof startSluice>>,
  count: number,
): Promise<{ waitingMb: number; slices: Slice[] }> {
  const part = 90_000;
  await world.database.kill("SIGSTOP");
  await using load = publishing(world.broker, "--count", `${count}`);
  await sluice.until("the backlog", ({ totals }) => totals.pending >= count, 1_200_000);
  await ended(load);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const waitingMb = residentMb(pid);
  await world.database.kill("SIGCONT");
  const reached = async (pending: number) => {
    const { totals } = await sluice.until(
      "the backlog to shrink",
      (it) => it.totals.pending <= pending,
      1_200_000,
    );
    return { pending: totals.pending, at: performance.now(), cpu: cpuSeconds(pid) };
  };
  const slices: Slice[] = [];
  const slice = async (name: string, from: number, to: number) => {
    const [before, after] = [await reached(from), await reached(to)];
    const done = before.pending - after.pending;
    slices.push({
      name,
      cpuUs: 1e6 * (after.cpu - before.cpu) / done,
      perSecond: 1_000 * done / (after.at - before.at),
    });
  };
  await slice(count > 2 * part ? ", the first" : "", count - 5_000, count - part);
  if (count > 2 * part) await slice(", the last", part, 5_000);
  await reached(0);
  return { waitingMb, slices };
}

async function bytesTable(world: World): Promise<void> {
  await using contestant = await startSluice(world, "100ms");
  const seconds = 30;
  const before = diskBytes(contestant.pid);
  await using load = publishing(
    world.broker,
    "--count",
    `${100 * seconds}`,
    "--rate",
    "100",
    "--clients",
    "1",
    "--bytes",
    "200",
  );
  await ended(load);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const after = diskBytes(contestant.pid);
  console.log("\n| bytes written for a 200-byte message at 100 messages/s, `linger` 100 ms | |\n|---|---:|");
  console.log(`| by write calls | ${Math.round((after.wchar - before.wchar) / (100 * seconds))} |`);
  console.log(`| to the disk | ${Math.round((after.written - before.written) / (100 * seconds))} |`);
}

const TABLES: Record<string, (world: World) => Promise<void>> = {
  throughput: throughputTable,
  latency: latencyTable,
  backlog: backlogTable,
  bytes: bytesTable,
};

if (import.meta.main) {
  const chosen = Deno.args.length > 0 ? Deno.args : Object.keys(TABLES);
  for (const name of chosen) {
    await using broker = await startMosquitto();
    await using database = await startMariadb({ args: ["--innodb-buffer-pool-size=512M"] });
    await database.admin(`USE home`).catch(() => {});
    await database.admin(TABLE.replace("climate (", "home.climate ("));
    await TABLES[name]({ broker, database });
  }
}
