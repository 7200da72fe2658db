/**
 * The gateway with everything around it: parts from a configuration, status page, service manager, reload, stop.
 *
 * Promises that it is ready when the spool is open, whether or not broker and database are there; that a stop takes
 * less than ten seconds and loses nothing; and that a reload exchanges only what has changed.
 */
import { systemClock } from "../clock.ts";
import { assertReadable } from "../config/outside.ts";
import type { Config } from "../config/schema.ts";
import { Secret } from "../config/secret.ts";
import type { Totals } from "../contracts.ts";
import { messageOf } from "../errors.ts";
import type { Faults } from "../faults.ts";
import { Gateway } from "../gateway.ts";
import type { MqttSource } from "../mqtt/source.ts";
import type { SqliteSpool } from "../spool/spool.ts";
import { startStatus, type StatusServer } from "../status/server.ts";
import type { StatusSnapshot } from "../status/snapshot.ts";
import { type OpenSink, openSinkOf, openSourceOf, openSpoolOf, routerOf } from "./parts.ts";
import { snapshotOf } from "./report.ts";

export interface ServiceOptions {
  readonly faults: Faults;
  readonly version: string;
}

export class Service implements AsyncDisposable {
  readonly #options: ServiceOptions;
  readonly #startedAt = systemClock.now();
  #config: Config;
  #spool!: SqliteSpool;
  #source!: MqttSource;
  #sink!: OpenSink;
  #status: StatusServer | undefined;
  #gateway!: Gateway;
  #stopping = false;
  #reloading: Promise<void> = Promise.resolve();

  private constructor(config: Config, options: ServiceOptions) {
    this.#config = config;
    this.#options = options;
  }

  /** Opens everything. Throws where a secret, the spool or the status page cannot be opened; services may be away. */
  static async open(config: Config, options: ServiceOptions): Promise<Service> {
    const service = new Service(config, options);
    await service.#open();
    return service;
  }

  async #open(): Promise<void> {
    const config = this.#config;
    const { faults } = this.#options;
    await assertReadable(config);
    this.#spool = await openSpoolOf(config, (lane) => this.#gateway?.openLane(lane), faults);
    const router = routerOf(config, await this.#spool.memory(), faults);
    this.#spool.routeBy((topic) => router.address(topic));
    this.#sink = openSinkOf(config, this.#options.faults);
    this.#source = await openSourceOf(config, router.filters, faults);
    this.#gateway = new Gateway({ source: this.#source, spool: this.#spool, router, sink: this.#sink }, {
      faults,
    });
    if (config.status !== false) {
      this.#status = await startStatus({
        listen: listenOf(config.status.listen),
        token: await config.status.token?.read(),
        snapshot: () => this.snapshot(),
        onFault: (reason) => {
          if (reason === null) faults.end("status page");
          else faults.begin("status page", `nobody can reach the status page: ${reason}`);
        },
      });
    }
  }

  /** Where the status page is; undefined where there is none. */
  get statusAddress(): string | undefined {
    return this.#status?.address;
  }

  get gateway(): Gateway {
    return this.#gateway;
  }

  get totals(): Totals {
    return this.#spool.stats.totals;
  }

  snapshot(): StatusSnapshot {
    return snapshotOf({
      config: this.#config,
      version: this.#options.version,
      uptimeS: (systemClock.now() - this.#startedAt) / 1_000,
      stopping: this.#stopping,
      faults: this.#options.faults,
      gateway: this.#gateway,
      spool: this.#spool.stats,
      source: this.#source.stats,
      sink: this.#sink,
    });
  }

  /** Runs until `signal` is aborted. Rejects where a loop cannot go on. */
  async run(signal: AbortSignal): Promise<void> {
    // Timers of the parts do not keep the process alive; a gateway that waits for everybody must.
    const alive = setInterval(() => {}, 1 << 30);
    try {
      await Promise.race([this.#gateway.run(signal), this.#spool.failed]);
    } finally {
      clearInterval(alive);
      this.#stopping = true;
      // What a reload has opened by now must be closed with the rest.
      await this.#reloading.catch(() => {});
    }
  }

  /**
   * Goes over to another configuration; what has not changed goes on. Throws, with nothing changed, where it cannot.
   * Call it when the last call has settled.
   */
  reload(config: Config): Promise<void> {
    if (this.#stopping) return Promise.reject(new Error("the gateway is being stopped"));
    return this.#reloading = this.#exchange(config);
  }

  async #exchange(config: Config): Promise<void> {
    await assertReadable(config);
    const old = await withSecrets(this.#config);
    const now = await withSecrets(config);
    const changed = (key: keyof Config) => JSON.stringify(old[key]) !== JSON.stringify(now[key]);
    const { faults } = this.#options;
    if (changed("spool") || changed("status")) {
      faults.note("changes of spool and status need a restart; the rest is loaded");
    }
    const { filters } = routerOf(config, new Map());
    const sink = changed("database") ? openSinkOf(config, this.#options.faults) : this.#sink;
    const oldSink = this.#sink;
    const oldSource = this.#source;
    this.#config = config;
    if (changed("broker")) {
      await oldSource[Symbol.asyncDispose]();
      this.#source = await openSourceOf(config, filters, faults);
    } else this.#source.subscribe(filters);
    this.#sink = sink;
    await this.#gateway.replace(async () => {
      // Only now: what the filters remember has moved on with every batch until the lanes stood still.
      const router = routerOf(config, await this.#spool.memory(), faults);
      this.#spool.routeBy((topic) => router.address(topic));
      return { router, sink, source: this.#source };
    });
    if (sink !== oldSink) await oldSink[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source?.[Symbol.asyncDispose]();
    await this.#sink?.[Symbol.asyncDispose]();
    await this.#spool?.[Symbol.asyncDispose]();
    await this.#status?.[Symbol.asyncDispose]();
  }
}

/** A copy with what the secrets say now, for comparison only: a new password is a change, though it prints the same. */
async function withSecrets<T>(value: T): Promise<T> {
  if (value instanceof Secret) return await value.read().catch(messageOf) as T;
  if (Array.isArray(value)) return await Promise.all(value.map(withSecrets)) as T;
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(async ([key, inner]) => [key, await withSecrets(inner)]);
  return Object.fromEntries(await Promise.all(entries));
}

export function listenOf(listen: string): { hostname: string; port: number } | { path: string } {
  if (listen.startsWith("unix:")) return { path: listen.slice("unix:".length) };
  const at = listen.lastIndexOf(":");
  return { hostname: listen.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(listen.slice(at + 1)) };
}
