/**
 * `sluice check` on what lies on this machine: the file itself, what it names, the embedded database, the spool; and
 * routes beside each other.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { relationOf } from "../../src/route/relation.ts";
import { startEmbeddedBroker } from "../../src/demo/broker.ts";
import { Surroundings } from "../faults/surroundings.ts";
import { filters, matchesFilter, topics } from "../route/topics.ts";
import { freePort } from "../servers/free_port.ts";
import { testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { SmallDisk } from "../servers/small_disk.ts";
import { findings, only, told } from "./findings.ts";
import { Program, sluice, withFolder } from "./program.ts";
import { assertShown } from "./shown.ts";

const VALUE = { value: "$", type: "double" };
const route = (topic: string, table: string, more: object = {}) => ({
  topic,
  table,
  columns: { topic: "@topic", value: VALUE },
  ...more,
});

/** With a broker in this process. The test gets the file, its folder, and a way to write it anew. */
async function beside(
  config: Record<string, unknown>,
  test: (file: string, dir: string, write: (config: object) => Promise<void>, url: string) => Promise<void>,
): Promise<void> {
  await using broker = await startEmbeddedBroker();
  const whole = (it: object) => ({
    broker: { url: broker.url, version: 4 },
    database: { url: "sqlite:home.db" },
    ...it,
  });
  await withFolder(JSON.stringify(whole(config), null, 2), async (file, dir) => {
    const write = (it: object) => Deno.writeTextFile(file, JSON.stringify(whole(it), null, 2));
    await test(file, dir, write, broker.url);
  });
}

Deno.test("a secret or a certificate that cannot be read is an error, and offline a warning", async () => {
  const config = {
    broker: {
      url: `mqtts://127.0.0.1:${freePort()}`,
      password: { env: "SLUICE_TEST_NOT_SET" },
      tls: { ca: "nowhere.pem" },
    },
    database: { url: "mysql://a@127.0.0.1/home", password: { file: "/nowhere/secret" } },
    status: { token: { credential: "token" } },
  };
  await withFolder(JSON.stringify(config, null, 2), async (file, dir) => {
    const { code, out } = await sluice(["check", "-c", file]);
    assert.equal(code, 78);
    await assertShown("check_unreadable", out, dir);
    const offline = await sluice(["check", "--offline", "-c", file]);
    assert.equal(offline.code, 0);
    assert.match(offline.out, /is good \(0 errors, 4 warnings\)\n$/);
    // A gateway that starts says the same.
    const run = await sluice(["run", "-c", file]);
    assert.equal(run.code, 78);
    assert.match(run.err, /broker\.password: .*SLUICE_TEST_NOT_SET/);
  });
});

Deno.test("check looks at the embedded database, and its SQL mends what it finds there", async () => {
  const routes = [
    route("a/{x}", "a"),
    route("b/{x}", "b", { layout: "latest" }),
    route("c/{x}", "c", { columns: { note: { value: "$", type: "text" } } }),
    route("d/{x}", "d"),
  ];
  const database = { url: "sqlite:home.db", createTables: false };
  await beside({ routes, database }, async (file, dir) => {
    assert.equal((await findings(file)).code, 0, "there is no file yet");
    assert.deepEqual(
      [...Deno.readDirSync(dir)].map(({ name }) => name),
      ["sluice.json"],
      "and check makes none",
    );
    using db = new DatabaseSync(`${dir}/home.db`);
    db.exec("CREATE TABLE a (topic TEXT)");
    db.exec("CREATE TABLE b (topic TEXT, value REAL)");
    db.exec("CREATE TABLE c (id INTEGER PRIMARY KEY, note INTEGER, must TEXT NOT NULL)");
    const { code, all } = await findings(file);
    assert.equal(code, 1);
    assert.deepEqual(all.map((it) => `${it.code}: ${it.message}`), [
      "column-missing: table a has no column value",
      "unique-key: the route tells rows apart by (topic), for which b has no unique key",
      "column-type: column note of c is INTEGER, the route gives text: what is no number becomes a dead letter",
      "column-needs-value: column must of c is NOT NULL without a default, and the route does not write it",
      'table-missing: there is no table d, and "createTables" is false',
    ]);
    await assertShown("check_sqlite", (await sluice(["check", "-c", file])).out, dir);
    for (const { fix } of all) if (fix) db.exec(fix);
    const left = told((await findings(file)).all);
    assert.deepEqual(left.map((it) => it.code), ["column-type", "column-needs-value"], "these have no SQL");
  });
});

Deno.test("an embedded database that cannot be one is said", async () => {
  await beside({}, async (file, dir, write) => {
    await Deno.writeTextFile(
      `${dir}/text.db`,
      "not a database, and long enough not to be taken for an empty one".repeat(20),
    );
    const cases: [string, RegExp][] = [
      [`${dir}/none/home.db`, /the folder \S+none for the embedded database does not exist/],
      [dir, /is no file, so it can be no database/],
      [`${dir}/text.db`, /cannot be read: file is not a database/],
    ];
    for (const [path, expected] of cases) {
      await write({ database: { url: `sqlite:${path}` } });
      const { code, all } = await findings(file);
      assert.equal(code, 69, path);
      assert.match(told(all)[0].message, expected);
    }
  });
});

testWith(["smallDisk"], "check says where nothing can be written", async () => {
  await using disk = await SmallDisk.open({ megabytes: 4 });
  await disk.turnReadOnly();
  await beside({ spool: { path: `${disk.dir}/spool.db` } }, async (file, _dir, write) => {
    const { code, all } = await findings(file);
    assert.equal(code, 1);
    const { message } = only(all, "not-writable");
    assert.ok(
      message.startsWith(`the spool cannot be written in ${disk.dir}: Read-only file system`),
      message,
    );
    await write({ database: { url: `sqlite:${disk.dir}/home.db` } });
    const embedded = await findings(file);
    assert.equal(embedded.code, 69);
    assert.match(told(embedded.all)[0].message, /the embedded database cannot be written in \S+/);
  });
});

Deno.test("check says where there is too little room for the spool", async () => {
  await beside({}, async (file, dir, write) => {
    await write({ spool: { path: "deep/in/here/spool.db", maxSize: "8000TiB" } });
    const small = only((await findings(file)).all, "disk-space");
    assert.match(small.message, /free, and the spool may become 8000 TiB/);
    const maxSize = /"maxSize": ("\d+MiB")/.exec(small.fix!)![1];
    await write({ spool: { path: "deep/in/here/spool.db", maxSize: JSON.parse(maxSize) } });
    assert.deepEqual(told((await findings(file)).all), []);
    assert.deepEqual(
      [...Deno.readDirSync(dir)].map(({ name }) => name),
      ["sluice.json"],
      "nothing is left behind",
    );
  });
});

Deno.test("a spool in memory is a warning", async (t) => {
  await using surroundings = await Surroundings.open();
  if (!surroundings.disk) {
    return void await t.step({ name: "needs root and mount", ignore: true, fn: () => {} });
  }
  await beside({ spool: { path: `${surroundings.disk}/spool.db`, maxSize: "1MiB" } }, async (file) => {
    const { all } = await findings(file);
    assert.match(only(all, "in-memory").message, /lies in memory \(tmpfs\)/);
  });
});

Deno.test("messages that wait for a route that is gone are told by check, can be exported, and sent elsewhere", async () => {
  const before = { routes: [route("a/{x}", "a")], database: { url: "sqlite:none/home.db" } };
  await beside({ ...before, status: false }, async (file, dir, write, url) => {
    await using gateway = new Program(["run", "-c", file]);
    await gateway.until("a message in the spool", async () => {
      await publish(url, [{ topic: "a/1", payload: "1.5", qos: 1 }], { version: 4 });
      const { out } = await sluice(["spool", "status", "--json", "-c", file]);
      return out && JSON.parse(out).entries > 0;
    });
    gateway.kill("SIGTERM");
    await gateway.ended();
    await Deno.mkdir(`${dir}/none`);
    assert.ok(!(await findings(file)).all.some((it) => it.code === "route-gone"));

    await write({ ...before, routes: [route("a/{x}", "b")], status: false });
    const gone = only((await findings(file)).all, "route-gone");
    assert.match(
      gone.message,
      /\d+ messages? in the spool waits? for the route "a\/\{x\} -> a", which is no longer/,
    );
    const saved = await sluice(["spool", "export", "-c", file]);
    assert.equal(JSON.parse(saved.out.split("\n")[0]).payload, "1.5");
    await using later = new Program(["run", "-c", file]);
    await later.until(
      "dead letters",
      async () => (await sluice(["dead", "list", "--json", "-c", file])).out !== "",
    );
    const listed = await sluice(["dead", "list", "-c", file]);
    await assertShown("dead_list_route_gone", listed.out.split("\n")[0] + "\n", dir);
    const replayed = await sluice(["dead", "replay", "--all", "--to", "b", "-c", file]);
    assert.equal(replayed.code, 0, replayed.err);
    await later.until("the row", () => {
      using db = new DatabaseSync(`${dir}/none/home.db`, { readOnly: true });
      return db.prepare("SELECT count(*) AS n FROM b WHERE value = 1.5").get()!.n;
    });
    later.kill("SIGTERM");
    await later.ended();
  });
});

Deno.test("routes that store a message twice in one table are told, those that mean it are not blamed", async () => {
  const cases: [object[], string[]][] = [
    [[route("a/#", "t"), route("a/b", "t")], ["warning duplicate-route"]],
    [[route("a/b", "t"), route("a/+", "t")], ["warning duplicate-route"]],
    [[route("a/b", "t"), route("a/{x}", "t", { columns: { x: "{x}", value: VALUE } })], [
      "warning shadowed-route",
    ]],
    [[route("a/+", "t"), route("+/b", "t", { columns: { value: VALUE } })], ["note shadowed-route"]],
    [[
      route("a/b", "t", { columns: { n: "= 'x'", v: "$.x" } }),
      route("a/b", "t", { columns: { n: "= 'y'", v: "$.y" } }),
    ], [
      "note shadowed-route",
    ]],
    [[route("a/#", "t", { when: "value > 1.0" }), route("a/b", "t", { when: "value <= 1.0" })], []],
    [[route("a/#", "t"), route("a/b", "u")], []],
    [[route("a/#", "t", { layout: "latest" }), route("a/b", "t", { layout: "latest" })], []],
    [[{ preset: "shelly" }, { preset: "tasmota" }], []],
    [[{ preset: "tasmota" }, { preset: "tasmota", topic: "cellar/%topic%/%prefix%/" }], []],
    [[{ preset: "zigbee2mqtt" }, { preset: "zigbee2mqtt" }], ["warning duplicate-route"]],
    [[route("$share/g/a/+", "t", { keep: { onChange: ["value"] } })], ["warning shared-keep"]],
    [[route("$share/g/a/+", "t"), route("$share/g/a/b", "t")], ["warning duplicate-route"]],
  ];
  for (const [routes, expected] of cases) {
    const config = { broker: { url: "mqtt://a" }, database: { url: "sqlite:a.db" }, routes };
    await withFolder(config, async (file) => {
      const { out } = await sluice(["check", "--offline", "--json", "-c", file]);
      const said = out.split("\n").filter(Boolean).map((line) => JSON.parse(line));
      const seen = [...new Set(said.map((it) => `${it.severity} ${it.code}`))];
      assert.deepEqual(seen, expected, `${JSON.stringify(routes)}: ${out}`);
    });
  }
});

Deno.test("how two filters stand to each other is what their topics say", () => {
  fc.assert(
    fc.property(
      filters,
      filters,
      fc.array(topics, { minLength: 30, maxLength: 60 }),
      (one, other, samples) => {
        const relation = relationOf(one.split("/"), other.split("/"));
        for (const topic of samples) {
          const [a, b] = [matchesFilter(one, topic), matchesFilter(other, topic)];
          if (relation === "apart") assert.ok(!(a && b), `${one} and ${other} both take ${topic}`);
          if (relation === "same") assert.equal(a, b, `${one} and ${other} differ in ${topic}`);
          if (relation === "wider" && b && !topic.startsWith("$")) {
            assert.ok(
              a,
              `${one} does not take ${topic}`,
            );
          }
          if (relation === "narrower" && a && !topic.startsWith("$")) {
            assert.ok(
              b,
              `${other} does not take ${topic}`,
            );
          }
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

Deno.test("a file with ten thousand routes is checked at once", async () => {
  const routes = Array.from({ length: 10_000 }, (_, i) => route(`home/device${i}/state`, "states"));
  await withFolder(
    { broker: { url: "mqtt://a" }, database: { url: "sqlite:a.db" }, routes },
    async (file) => {
      const { code, out } = await sluice(["check", "--offline", "-c", file]);
      assert.equal(code, 0);
      assert.match(out, /is good \(0 errors, 0 warnings\)/);
    },
  );
});
