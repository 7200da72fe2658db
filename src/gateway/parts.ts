/**
 * From the configuration to the parts: opens the source, the spool, the routes and the sink, and tells the faults what
 * they meet. The only place that knows every part by name.
 */
import { basename, dirname } from "node:path";
import type { Config } from "../config/schema.ts";
import type { Router, Sink } from "../contracts.ts";
import { ConfigurationError } from "../errors.ts";
import type { Faults } from "../faults.ts";
import type { BrokerOptions } from "../mqtt/broker_options.ts";
import { probe, type ProbeResult } from "../mqtt/probe.ts";
import { type MqttSource, openSource, type SourceEvent } from "../mqtt/source.ts";
import { databaseAddress } from "../mysql/address.ts";
import type { MysqlSettings } from "../mysql/connect.ts";
import { type MysqlSink, type MysqlSinkOptions, openMysqlSink } from "../mysql/sink.ts";
import { createRouter } from "../route/mod.ts";
import { openSqliteSink } from "../sqlite/sink.ts";
import { openSpool, type SqliteSpool } from "../spool/spool.ts";
import { formatSize } from "../units.ts";
import { SessionFile } from "./session_file.ts";

export async function openSpoolOf(
  config: Config,
  onLane: (lane: string) => void,
  faults: Faults,
): Promise<SqliteSpool> {
  const { path, maxSize, onFull } = config.spool;
  await Deno.mkdir(dirname(path), { recursive: true });
  const spool = await openSpool({
    path,
    bytesMax: maxSize,
    onFull: onFull as "block" | "dropOldest",
    onLane,
    onFullChange: (reason) => {
      if (reason === null) faults.end("spool");
      else faults.begin("spool", `${reason}: nothing more is acknowledged until there is space`);
    },
    onLogLarge: (log) => {
      if (log === null) return faults.end("spool log");
      faults.begin("spool log", `the log beside the spool has grown to ${formatSize(log.bytes)}`, {
        hint: `another program reads ${path} all the time, which keeps the log from being shortened: end it`,
      });
    },
    onLettersFull: (letters) => {
      if (letters === null) return faults.end("dead letters");
      const { kept, dropped } = letters;
      faults.begin(
        "dead letters",
        `there are too many dead letters: the oldest go, ${dropped} are gone so far, ${kept} are kept`,
        {
          hint:
            "`sluice dead list` shows them; mend the route, then `sluice dead replay` or `sluice dead drop`",
        },
      );
    },
  });
  for (const note of spool.notes) faults.note(note);
  return spool;
}

/** `faults`: told when a name with placeholders has as many tables as there may be. */
export function routerOf(
  { routes, name }: Config,
  memory: ReadonlyMap<string, string>,
  faults?: Faults,
): Router {
  const ofTables = "tables ";
  // The limit of an earlier configuration is none of this one's.
  for (const { key } of faults?.current ?? []) if (key.startsWith(ofTables)) faults!.end(key);
  const onTablesFull = (template: string, sentence: string) =>
    faults?.begin(`${ofTables}${template}`, sentence, {
      hint: "use one table with a column for what differs; `sluice dead list` shows what was refused",
    });
  return createRouter({ routes, gateway: name, memory, onTablesFull });
}

/** Opens the source. The filters of the session are kept in a file beside the spool, so that a removed one is unsubscribed. */
export async function openSourceOf(
  config: Config,
  filters: readonly string[],
  faults: Faults,
): Promise<MqttSource> {
  const { broker, spool } = config;
  const session = new SessionFile(`${spool.path}.session`, broker.clientId);
  const note = await session.read();
  return openSource({
    ...brokerOptions(config),
    clientId: broker.clientId,
    sessionExpirySec: Math.floor(broker.sessionExpiry / 1_000),
    lingerMs: spool.linger,
    filters,
    previousFilters: note.filters,
    onSubscribed: (filters) => session.write({ filters }),
    previousDropped: note.dropped,
    onDropped: (dropped) => session.write({ dropped }),
    onEvent: (event) => report(event, faults),
  });
}

/** How to reach and log in to the broker; also for `check`. */
function brokerOptions({ broker }: Config): BrokerOptions {
  return {
    url: broker.url,
    username: broker.username,
    password: broker.password ? () => broker.password!.read() : undefined,
    version: broker.version as 4 | 5,
    keepaliveMs: broker.keepalive,
    tls: broker.tls && { ...pems(broker.tls), verify: broker.tls.verify },
  };
}

/** Tries log-in, subscriptions and a session without disturbing the gateway's own. */
export function probeOf(config: Config, signal: AbortSignal): Promise<ProbeResult> {
  const { filters } = routerOf(config, new Map());
  const sessionExpirySec = Math.floor(config.broker.sessionExpiry / 1_000);
  return probe({ ...brokerOptions(config), filters, sessionExpirySec }, signal);
}

/** Certificates are read at each connect, so that a renewed one is taken. */
function pems(files: { ca?: string; cert?: string; key?: string }) {
  const read = (path: string | undefined) => path === undefined ? undefined : () => Deno.readTextFile(path);
  return { ca: read(files.ca), cert: read(files.cert), key: read(files.key) };
}

function report(event: SourceEvent, faults: Faults): void {
  switch (event.kind) {
    case "connected":
      return faults.end("broker");
    case "disconnected":
    case "refused":
      return faults.begin("broker", event.error.message, { hint: event.error.hint });
    case "sessionNotResumed":
      return faults.note(
        "the broker did not keep the session: messages that it held for this gateway are lost",
      );
    case "sessionExpires":
      return faults.note(
        event.grantedSec === 0
          ? "the broker keeps no session for this gateway: messages that come while it is away are lost " +
            `(broker.sessionExpiry asks for ${event.askedSec} s)`
          : `the broker keeps messages for an absent gateway for ${event.grantedSec} s only, ` +
            `although broker.sessionExpiry asks for ${event.askedSec} s`,
      );
    case "brokerDropped":
      return faults.note(
        `the broker has dropped ${event.more} messages, perhaps of this gateway: raise what it keeps for an ` +
          "absent client (mosquitto: max_queued_messages)",
      );
    case "subscriptions": {
      const wrong = [
        ...event.refused.map((it) => `${it.filter} is refused`),
        ...event.lowered.map((it) => `${it.filter} is granted with a lower QoS`),
      ];
      if (wrong.length === 0) return faults.end("subscriptions");
      return faults.begin(
        "subscriptions",
        `the broker does not grant all subscriptions: ${wrong.join(", ")}`,
      );
    }
  }
}

/** A sink, with what the status page shows of it. */
export type OpenSink = Sink & { readonly address: string; readonly pool?: MysqlSink["pool"] };

/** Opens nothing yet: connections are made when they are needed. */
export function openSinkOf({ database }: Config, faults: Faults): OpenSink {
  const address = databaseAddress(database.url);
  const { createTables, addColumns } = database;
  if (address.kind === "sqlite") return openSqliteSink({ path: address.path, createTables, addColumns });
  const sink = openMysqlSink({
    ...mysqlSettings(database),
    createTables,
    addColumns,
    pool: poolOptions(database),
  });
  sink.pool.on("warning", ({ reason }) => faults.note(`the pool: ${reason}`));
  return sink;
}

/** How to connect to the configured server; also for `check`. */
export function mysqlSettings(database: Config["database"]): MysqlSettings {
  const address = databaseAddress(database.url);
  if (address.kind !== "mysql") throw new ConfigurationError("database.url is no MySQL server");
  const { host, port, user } = address;
  const { password, tls, hosts } = database;
  const read = (path: string | undefined) => path === undefined ? undefined : Deno.readTextFile(path);
  return {
    host,
    port,
    hosts,
    user,
    database: address.database,
    password: password ? () => password.read() : () => Promise.resolve(address.password),
    tls: tls && (async () => {
      const [ca, cert, key] = await Promise.all([read(tls.ca), read(tls.cert), read(tls.key)]);
      return { ca, cert, key, verify: tls.verify };
    }),
  };
}

/** The pool's times are seconds. */
function poolOptions({ pool }: Config["database"]): MysqlSinkOptions["pool"] {
  return {
    kind: pool.kind as "queue" | "null",
    size: pool.size,
    maxOverflow: pool.maxOverflow,
    timeout: pool.timeout / 1_000,
    recycle: pool.recycle === null ? -1 : pool.recycle / 1_000,
    prePing: pool.prePing,
    pingTimeout: pool.pingTimeout / 1_000,
    order: pool.order as "fifo" | "lifo",
  };
}

/** For people: where rows go, without user and password. */
export function databaseName(url: string): string {
  if (url.startsWith("sqlite:")) return basename(url.slice("sqlite:".length));
  const parsed = URL.parse(url);
  return parsed ? `${parsed.host}${parsed.pathname}` : url;
}
