/**
 * Faults of the network: a cable that is pulled, names that nobody knows or that mean another machine now, and a process
 * that may open no more files. Rows 16 and 59 of the fault catalogue.
 *
 * The gateway runs in a network of its own (`../servers/network.ts`); publishers, servers and who watches do not.
 */
import assert from "node:assert/strict";
import type { Database } from "../servers/database.ts";
import { START, testWith } from "../servers/needs.ts";
import { Network } from "../servers/network.ts";
import { type FaultProxy, startProxy } from "../servers/proxy.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene, type SceneOptions } from "./scene.ts";
import { all, packets } from "./wire.ts";

/** The pool gives up soon, so that nobody has to wait for it. */
const POOL = { timeout: "3s", pingTimeout: "500ms" };

/** A database, and a proxy in front of it at an address of the gateway's cable. */
class Far implements AsyncDisposable {
  private constructor(
    readonly server: Database,
    readonly schema: string,
    readonly proxy: FaultProxy,
    readonly stack: AsyncDisposableStack,
  ) {}

  static async open(network: Network): Promise<Far> {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await START.mariadb());
    const schema = await server.createDatabase();
    const proxy = stack.use(await startProxy({ target: server.port, host: network.near[0], log: false }));
    return new Far(server, schema, proxy, stack.move());
  }

  /** For a scene; `host` is how the gateway calls the proxy. */
  options(host = this.proxy.host): SceneOptions["database"] {
    const url = `mysql://sluice:secret@${host}:${this.proxy.port}/${this.schema}`;
    return { server: this.server, schema: this.schema, url };
  }

  /** For a scene; see `options`. */
  config(host?: string) {
    return { database: { url: this.options(host)!.url, pool: POOL } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}

/** Pulled for as long as it takes to give up the broker; the database's connections outlive it. */
async function pulled(version: 4 | 5): Promise<void> {
  await using network = await Network.open();
  await using far = await Far.open(network);
  const config = { broker: { keepalive: "1s" } };
  await using scene = await Scene.start({ version, network, config, database: far.options() });
  const { sluice } = scene;
  const streams = await Promise.all(([1, 2] as const).map((qos) => scene.stream({ qos, pauseMs: 10 })));
  await scene.flowing();
  await network.pull();
  const status = await sluice.until("the broker to be given up", ({ broker }) => !broker.connected);
  assert.match(status.sentence!, /has gone silent/);
  await network.plug();
  await scene.flowing(200);
  for (const stream of streams) await stream.stop();
  await scene.settle();
  await scene.judgeWire();
}

testWith(
  ["mosquitto", "mariadb", "network"],
  "16: the cable to broker and database is pulled under load and plugged in again: told, nothing lost or doubled",
  async () => {
    await Promise.all([pulled(5), pulled(4)]);
  },
);

testWith(
  ["mosquitto", "mariadb", "network"],
  "16: the cable to an idle database is pulled: seen at the next message, told, and all is stored when it is plugged in",
  async () => {
    await using network = await Network.open();
    await using far = await Far.open(network);
    await using scene = await Scene.start({
      network,
      brokerHost: network.sure,
      database: far.options(),
      config: { ...far.config(), broker: { keepalive: "1s" } },
    });
    await scene.publish(10);
    await scene.settle();
    // What answered within the last second is not pinged before it is used.
    const pings = () => all(packets(scene.proxy, scene.version), "pingreq").length;
    const before = pings();
    await waitFor(() => pings() >= before + 3, { what: "two seconds to pass" });
    await network.pull();
    await scene.publish(10);
    await scene.sluice.until("the database to be given up", ({ database }) => !database.reachable);
    assert.deepEqual(await scene.sluice.notReady(), ["the database is not reachable"]);
    await network.plug();
    await scene.settle();
  },
);

/** Names of broker and database, as they stand in the configuration. */
const NAMES = ["broker.home", "db.home"] as const;

testWith(
  ["mosquitto", "mariadb", "network"],
  "59: names of broker and database that nobody knows for a while: told, also at the start, and all is stored when they do",
  async () => {
    await using network = await Network.open();
    const known = `${network.near[0]} ${NAMES.join(" ")}`;
    await network.names(known);
    await using far = await Far.open(network);
    const [brokerName, databaseName] = NAMES;
    await using scene = await Scene.start({
      network,
      brokerName,
      database: far.options(databaseName),
      config: far.config(databaseName),
    });
    const { sluice, proxy } = scene;
    await scene.publish(10);
    await scene.settle();
    for (const how of ["while it runs", "at the start"]) {
      if (how === "at the start") assert.equal(await sluice.stop(), 0);
      await network.names("");
      proxy.cut();
      far.proxy.cut();
      if (how === "at the start") await sluice.start();
      await sluice.until(
        "the broker's name to be missed",
        ({ broker }) => /broker\.home:\d+ cannot be reached: its name is not known/.test(broker.error ?? ""),
      );
      // A database that nobody needs is asked for every half minute only.
      if (how === "at the start") {
        await scene.says(/database db\.home.*EAI_AGAIN/);
        assert.deepEqual(await sluice.notReady(), [
          "the broker is not connected",
          "the database is not reachable",
        ]);
      }
      await scene.publish(10, { qos: 2 });
      await network.names(known);
      await scene.settle();
    }
    await scene.judgeWire();
  },
);

testWith(
  ["mosquitto", "mariadb", "network"],
  "59: broker and database move to another address: their names are looked up again",
  async () => {
    await using network = await Network.open();
    const [old, next] = network.near;
    await network.names(`${old} ${NAMES.join(" ")}`);
    await using far = await Far.open(network);
    await using scene = await Scene.start({ network, brokerName: NAMES[0], database: far.options(NAMES[1]) });
    await scene.publish(10);
    await scene.settle();
    await using broker = await startProxy({ target: scene.broker.port, host: next, port: scene.proxy.port });
    await using database = await startProxy({ target: far.server.port, host: next, port: far.proxy.port });
    for (const proxy of [scene.proxy, far.proxy]) {
      await proxy.refuse();
      proxy.cut();
    }
    await scene.publish(10, { qos: 2 });
    await network.names(`${next} ${NAMES.join(" ")}`);
    await scene.settle();
    assert.ok(broker.accepted > 0 && database.accepted > 0);
  },
);

/** So many files and connections the gateway may have open; about 45 it needs. */
const FILES_MAX = 64;

/** A visitor of the status page who keeps his connection. */
class Visitor implements Disposable {
  readonly #connection: Deno.TcpConn;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async open(url: string): Promise<Visitor> {
    const { hostname, port } = new URL(url);
    return new Visitor(await Deno.connect({ hostname, port: Number(port) }));
  }

  /** Asks for a page; gives what comes first of the answer. */
  async ask(path: string): Promise<string> {
    await this.#connection.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`));
    const bytes = new Uint8Array(64 * 1024);
    return new TextDecoder().decode(bytes.subarray(0, await this.#connection.read(bytes) ?? 0));
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }
}

testWith(
  ["mosquitto"],
  "59: a process that may open no more files: neither broker nor status page can be had, told, and both again when it may",
  async () => {
    await using scene = await Scene.start({
      command: ["sh", "-c", `ulimit -n ${FILES_MAX}; exec "$@"`, "sh"],
    });
    const { sluice, proxy } = scene;
    await scene.publish(10);
    await scene.settle();
    using visitors = new DisposableStack();
    const watcher = visitors.use(await Visitor.open(sluice.statusUrl));
    await watcher.ask("/healthz");
    // Its descriptor goes to the visitors as well.
    await proxy.refuse();
    proxy.cut();
    await waitFor(async () => {
      const visitor = await Visitor.open(sluice.statusUrl).catch(() => null);
      if (visitor) visitors.use(visitor);
      return /nobody can reach the status page/.test(sluice.output);
    }, { what: "all descriptors to be taken" });
    // It gave up its own, and takes the last one again to listen.
    await scene.says(/over after.*nobody can reach the status page/);
    await proxy.refuse(false);
    await scene.publish(10, { qos: 2 });
    await waitFor(async () => /no file descriptor left for it/.test(await watcher.ask("/status.json")), {
      what: "the reason to be told",
      intervalMs: 100,
    });
    visitors.dispose();
    await scene.settle();
    await scene.says(/over after.*cannot be reached: this computer has no file descriptor left for it/);
    await scene.judgeWire();
    assert.equal(await sluice.stop(), 0);
  },
);
