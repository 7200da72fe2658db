/**
 * The status page and its neighbours, asked over HTTP.
 */
import assert from "node:assert/strict";
import { startStatus, type StatusOptions } from "../../src/status/server.ts";
import type { StatusSnapshot } from "../../src/status/snapshot.ts";

const CLOSED = {
  overflow: 1,
  recycle: 2,
  idle: 0,
  dead: 3,
  ping: 0,
  reset: 0,
  invalidated: 0,
  shutdown: 0,
};

const SNAPSHOT: StatusSnapshot = {
  name: "pi-attic",
  version: "1.2.3",
  uptime_s: 12.3,
  state: "ok",
  sentence: null,
  totals: {
    received: 10,
    duplicate: 1,
    unrouted: 2,
    routed: 7,
    deliveries: 8,
    stored: 5,
    filtered: 1,
    dead: 1,
    dropped: 0,
    pending: 1,
    rows: 5,
  },
  lanes: { 'cli"mate': { pending: 1, state: "ok", reason: null, lag_s: 0.5 } },
  broker: { connected: true, url: "127.0.0.1", error: null, dropped: null },
  database: { reachable: true, address: "127.0.0.1/home" },
  pool: {
    size: 5,
    idle: 1,
    leased: 2,
    connecting: 0,
    closing: 1,
    waiting: 3,
    overflow: 0,
    generation: 0,
    totals: {
      acquired: 9,
      timedOut: 4,
      aborted: 0,
      waitedMs: 1_500,
      opened: 6,
      connectFailed: 1,
      connectMs: 10,
      usedMs: 20,
      closed: CLOSED,
    },
    connections: [{ id: 7, state: "idle", ageMs: 1, idleMs: 1, uses: 1, recycleInMs: null }],
  },
  spool: {
    bytes: 100,
    log_bytes: 7,
    entries: 1,
    max_bytes: 1_000,
    full: false,
    dead_letters: 1,
    bytes_written: 5,
  },
  faults: [],
  messages: [],
  dead_letters: [],
};

async function withStatus(
  options: Partial<StatusOptions> & { state?: Partial<StatusSnapshot> },
  visit: (get: (path: string, init?: RequestInit) => Promise<[number, string, Headers]>) => Promise<void>,
): Promise<void> {
  await using server = await startStatus({
    listen: { hostname: "127.0.0.1", port: 0 },
    snapshot: () => ({ ...SNAPSHOT, ...options.state }),
    ...options,
  });
  await visit(async (path, init) => {
    const response = await fetch(server.address + path, init);
    return [response.status, await response.text(), response.headers];
  });
}

Deno.test("the page comes without a word from elsewhere, and may load nothing from elsewhere", async () => {
  await withStatus({}, async (get) => {
    const [status, page, headers] = await get("/");
    assert.equal(status, 200);
    assert.equal(headers.get("content-security-policy"), "default-src 'self'");
    assert.doesNotMatch(page, /https?:\/\//);
    for (const [path, type] of [["/page.css", "text/css"], ["/page.js", "text/javascript"]]) {
      assert.ok(page.includes(`"${path}"`));
      const [found, , its] = await get(path);
      assert.deepEqual([found, its.get("content-type")], [200, `${type}; charset=utf-8`]);
    }
  });
});

Deno.test("what is asked in other ways is refused", async () => {
  await withStatus({}, async (get) => {
    assert.equal((await get("/", { method: "POST" }))[0], 405);
    assert.equal((await get("/../etc/passwd"))[0], 404);
  });
});

Deno.test("where there is a token nothing is told without it, but to a browser that has it", async () => {
  await withStatus({ token: "open sesame" }, async (get) => {
    for (const path of ["/", "/status.json", "/metrics", "/readyz", "/healthz", "/?token=open"]) {
      assert.equal((await get(path))[0], 401, path);
    }
    assert.equal((await get("/status.json?token=open%20sesame"))[0], 200);
    assert.equal((await get("/metrics", { headers: { authorization: "Bearer open sesame" } }))[0], 200);
    assert.equal((await get("/page.js"))[0], 200);
  });
});

Deno.test("readyz says what is missing", async () => {
  await withStatus({}, async (get) => {
    assert.deepEqual([(await get("/readyz"))[0], (await get("/healthz"))[0]], [200, 200]);
  });
  const state = {
    broker: { ...SNAPSHOT.broker, connected: false },
    database: { ...SNAPSHOT.database, reachable: false },
    spool: { ...SNAPSHOT.spool, full: true },
  };
  await withStatus({ state }, async (get) => {
    const [status, body] = await get("/readyz");
    assert.equal(status, 503);
    assert.deepEqual(JSON.parse(body).reasons, [
      "the broker is not connected",
      "the database is not reachable",
      "the spool is full",
    ]);
    assert.equal((await get("/healthz"))[0], 200, "the process is well all the same");
  });
});

Deno.test("metrics are Prometheus text: every sample has help and type, and labels are escaped", async () => {
  await withStatus({}, async (get) => {
    const [, body] = await get("/metrics");
    const typed = new Set<string>();
    const samples = new Map<string, number>();
    for (const line of body.trimEnd().split("\n")) {
      const type = /^# TYPE (\S+) (counter|gauge)$/.exec(line);
      if (type) typed.add(type[1]);
      else if (!line.startsWith("# HELP ")) {
        const sample = /^([a-z_]+)(\{[a-z]+="(?:[^"\\]|\\.)*"\})? (-?[\d.e+]+)$/.exec(line);
        assert.ok(sample, line);
        assert.ok(typed.has(sample[1]), `${sample[1]} has no type`);
        samples.set(sample[1] + (sample[2] ?? ""), Number(sample[3]));
      }
    }
    const expected: Record<string, number> = {
      sluice_received_total: 10,
      sluice_pending: 1,
      'sluice_lane_pending{lane="cli\\"mate"}': 1,
      'db_client_connection_count{state="idle"}': 1,
      'db_client_connection_count{state="used"}': 2,
      db_client_connection_pending_requests: 3,
      db_client_connection_timeouts_total: 4,
      db_client_connection_wait_time_seconds_total: 1.5,
      'db_client_connection_closed_total{reason="dead"}': 3,
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), value, name);
  });
});

Deno.test("the page is also given on a socket in the file system", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/status.sock`;
  await using server = await startStatus({ listen: { path }, snapshot: () => SNAPSHOT });
  assert.equal(server.address, `unix:${path}`);
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  const response = await fetch("http://localhost/healthz", { client });
  assert.equal(await response.text(), "ok\n");
});
