/**
 * The status page and its neighbours, asked over HTTP.
 */
import assert from "node:assert/strict";
import { startStatus, type StatusOptions } from "../../src/status/server.ts";
import type { StatusSnapshot } from "../../src/status/snapshot.ts";
import { testWith } from "../servers/needs.ts";
import { run } from "../servers/server_process.ts";

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
  broker: { connected: true, url: "127.0.0.1", error: null, dropped: null, refused: [] },
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
    limit: 15,
    totals: {
      acquired: 9,
      released: 7,
      timed_out: 4,
      aborted: 0,
      waited_s: 1.5,
      opened: 6,
      connect_failed: 1,
      connect_s: 0.01,
      used_s: 0.02,
      closed: CLOSED,
    },
    connections: [{
      id: 7,
      server: "127.0.0.1:3306",
      state: "idle",
      age_s: 0.001,
      idle_s: 0.001,
      uses: 1,
      recycle_in_s: null,
    }],
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
    broker: { ...SNAPSHOT.broker, connected: false, refused: ["Home/#"] },
    database: { ...SNAPSHOT.database, reachable: false },
    spool: { ...SNAPSHOT.spool, full: true },
  };
  await withStatus({ state }, async (get) => {
    const [status, body] = await get("/readyz");
    assert.equal(status, 503);
    assert.deepEqual(JSON.parse(body).reasons, [
      "the broker is not connected",
      "the broker refuses the subscription Home/#",
      "the database is not reachable",
      "the spool is full",
    ]);
    assert.equal((await get("/healthz"))[0], 200, "the process is well all the same");
  });
});

/** Samples by name and labels; fails where a line is no Prometheus text, or a sample has no type that fits it. */
function samplesOf(text: string): Map<string, number> {
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  for (const line of text.trimEnd().split("\n")) {
    const [, typed, type] = /^# TYPE (\S+) (counter|gauge|summary)$/.exec(line) ?? [];
    if (typed) {
      assert.ok(!types.has(typed), `${typed} comes twice`);
      types.set(typed, type);
    }
    if (line.startsWith("# ")) continue;
    const label = String.raw`[a-z_]+="(?:[^"\\]|\\.)*"`;
    const sample = new RegExp(`^([a-z_]+)(\\{${label}(?:,${label})*\\})? (-?[\\d.e+-]+)$`).exec(line);
    assert.ok(sample, line);
    const [, name, labels = "", value] = sample;
    const base = types.get(name) ? name : name.replace(/_(sum|count)$/, "");
    assert.ok(types.has(base), `${name} has no type`);
    assert.equal(types.get(base) === "summary", base !== name, line);
    assert.equal(types.get(base) === "counter", name.endsWith("_total"), `${name} is called wrongly`);
    assert.ok(!samples.has(name + labels), `${line} comes twice`);
    samples.set(name + labels, Number(value));
  }
  return samples;
}

Deno.test("metrics are Prometheus text: every sample has help and type, and labels are escaped", async () => {
  await withStatus({}, async (get) => {
    const samples = samplesOf((await get("/metrics"))[1]);
    const pool = 'db_client_connection_pool_name="127.0.0.1/home"';
    const expected: Record<string, number> = {
      sluice_received_total: 10,
      sluice_pending: 1,
      'sluice_lane_pending{lane="cli\\"mate"}': 1,
      [`db_client_connection_count{${pool},db_client_connection_state="idle"}`]: 1,
      [`db_client_connection_count{${pool},db_client_connection_state="used"}`]: 2,
      [`db_client_connection_idle_max{${pool}}`]: 5,
      [`db_client_connection_idle_min{${pool}}`]: 0,
      [`db_client_connection_max{${pool}}`]: 15,
      [`db_client_connection_pending_requests{${pool}}`]: 3,
      [`db_client_connection_timeouts_total{${pool}}`]: 4,
      [`db_client_connection_wait_time_seconds_sum{${pool}}`]: 1.5,
      [`db_client_connection_wait_time_seconds_count{${pool}}`]: 9,
      [`db_client_connection_create_time_seconds_count{${pool}}`]: 6,
      [`db_client_connection_use_time_seconds_sum{${pool}}`]: 0.02,
      [`db_client_connection_closed_total{${pool},reason="dead"}`]: 3,
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(samples.get(name), value, name);
  });
});

testWith(
  ["promtool"],
  "Prometheus' own tool objects to one name only, which is OpenTelemetry's",
  async () => {
    await withStatus({}, async (get) => {
      const stdin = (await get("/metrics"))[1];
      // It prints a line for each objection, and ends with a code that says whether there were any.
      const said = await run("sh", ["-c", "promtool check metrics 2>&1 || true"], { stdin });
      assert.equal(
        said.trim(),
        'db_client_connection_count non-histogram and non-summary metrics should not have "_count" suffix',
      );
    });
  },
);

Deno.test("the page is also given on a socket in the file system", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/status.sock`;
  await using server = await startStatus({ listen: { path }, snapshot: () => SNAPSHOT });
  assert.equal(server.address, `unix:${path}`);
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  const response = await fetch("http://localhost/healthz", { client });
  assert.equal(await response.text(), "ok\n");
});

Deno.test("an address that cannot be had is told with what to do", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  const snapshot = () => SNAPSHOT;
  await assert.rejects(startStatus({ listen: { hostname: "127.0.0.1", port }, snapshot }), {
    name: "SluiceError",
    message: new RegExp(`^the status page cannot be at http://127.0.0.1:${port}: .*in use`, "i"),
    hint: /another gateway: .*"listen"/,
  });
  await assert.rejects(startStatus({ listen: { hostname: "192.0.2.1", port }, snapshot }), {
    hint: /choose an address of this machine/,
  });
});
