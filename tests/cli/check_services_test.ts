/**
 * `sluice check` against a broker and a database as they really are: rights, limits, clocks; and each hint taken.
 */
import assert from "node:assert/strict";
import { connack, startFakeBroker } from "../mqtt/fake_broker.ts";
import { Surroundings } from "../faults/surroundings.ts";
import { startMariadb } from "../servers/mariadb.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { mosquittoSession } from "../servers/mosquitto_clients.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { findings, only, told } from "./findings.ts";
import { Program, sluice, withFolder } from "./program.ts";
import { assertShown } from "./shown.ts";

const VALUE = { value: "$", type: "double" };
const ROUTES = [
  { topic: "Home/{room}/temperature", table: "temperature", columns: { room: "{room}", value: VALUE } },
  { topic: "cellar/#", table: "cellar", columns: { topic: "@topic", value: VALUE } },
];
const embedded = (url: string, broker: object = {}) => ({
  broker: { url, ...broker },
  database: { url: "sqlite:home.db" },
  routes: ROUTES,
});

Deno.test("check says which subscriptions a broker refuses or lowers, at the route that wants them", async () => {
  await using broker = await startFakeBroker();
  await withFolder(JSON.stringify(embedded(broker.url), null, 2), async (file, dir) => {
    const answer = async (...codes: number[]) => {
      const client = await broker.accepted();
      await client.grant(...codes);
      // It asks for a session, too.
      const second = await broker.accepted();
      await second.next("disconnect");
      second.socket.end();
    };
    const shown = sluice(["check", "-c", file]);
    await answer(0x87, 0);
    const { code, out } = await shown;
    assert.equal(code, 1);
    await assertShown("check_broker", out, dir);
    const running = findings(file);
    await answer(1, 0x87);
    const { all } = await running;
    const lines = (await Deno.readTextFile(file)).split("\n");
    const [refused, lowered] = [only(all, "subscription-refused"), only(all, "subscription-lowered")];
    assert.match(lines[refused.line - 1], /"topic": "cellar\/#"/);
    assert.match(lines[lowered.line - 1], /"topic": "Home\/\{room\}/);
    assert.equal(lowered.severity, "note", "QoS 1 loses nothing");
  });
});

testWith(["mosquitto"], "check leaves no session behind, and says what the broker has dropped", async () => {
  await using broker = await startMosquitto({ config: ["sys_interval 1", "max_queued_messages 1"] });
  await mosquittoSession(broker.url, "Home/#", { clientId: "asleep" });
  await publish(
    broker.url,
    Array.from({ length: 5 }, () => ({ topic: "Home/a/temperature", payload: "1", qos: 1 })),
  );
  await withFolder(embedded(broker.url), async (file) => {
    const dropped = await waitFor(async () => {
      const { all } = await findings(file);
      return all.find((it) => it.code === "broker-dropped");
    }, { what: "the broker to count what it has dropped" });
    assert.match(dropped.message, /has dropped \d+ messages since it was started/);
    assert.match(dropped.fix!, /max_queued_messages/);
    // The log says of each client that came whether its session stays, and of each that goes that it is gone.
    const came = broker.log(1_000).match(/ as sluice-check-\w+ \(p5, c1, /g) ?? [];
    assert.ok(
      came.length >= 2,
      "a log-in to subscribe and one to ask for a session, both with a clean start",
    );
    await using tap = new Program([
      "tap",
      "--json",
      "-c",
      file,
      "--topic",
      "$SYS/broker/clients/disconnected",
    ]);
    await tap.until("the broker to count its sessions", ({ out }) => out.split("\n").length > 2);
    const last = JSON.parse(tap.out.trimEnd().split("\n").at(-1)!);
    assert.match(last.reason, /no route/);
    tap.kill("SIGINT");
    await tap.ended();
  });
});

Deno.test("check says for how long the broker really keeps messages, and what it does not have", async () => {
  await using broker = await startFakeBroker();
  await withFolder(embedded(broker.url, { sessionExpiry: "7d" }), async (file) => {
    const running = findings(file);
    const first = await broker.client(30_000);
    await first.next("connect");
    first.send(connack(0, false, { retainAvailable: false, wildcardSubscriptionAvailable: false }));
    const packet = await first.next("subscribe");
    first.send({ cmd: "suback", messageId: packet.messageId, granted: packet.subscriptions.map(() => 0xa2) });
    const second = await broker.client(30_000);
    const hello = await second.next("connect");
    assert.equal(hello.properties?.sessionExpiryInterval, 7 * 86_400);
    assert.equal(hello.clean, true);
    second.send(connack(0, false, { sessionExpiryInterval: 3_600 }));
    const bye = await second.next("disconnect");
    assert.equal(bye.properties?.sessionExpiryInterval, 0, "the session is taken back");
    assert.equal(second.all("subscribe").length, 0, "nothing would wait in it");
    second.socket.end();
    const { all, code } = await running;
    assert.equal(code, 1);
    assert.match(
      only(all, "session-expiry").message,
      /keeps messages for an absent gateway for 60 min only, not for 7 d/,
    );
    assert.equal(only(all, "no-retained").severity, "note");
    const refused = all.filter((it) => it.code === "subscription-refused");
    assert.deepEqual(refused.map((it) => it.message), [
      "the broker refuses the subscription Home/+/temperature: it takes no + and #",
      "the broker refuses the subscription cellar/#: it takes no + and #",
    ]);
  });
});

type Start = Parameters<Parameters<typeof eachDatabase>[0]>[1];

async function limits(flavour: string, start: Start): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start({
    args: [
      ...["--wait-timeout=600", "--max-connections=10", "--max-allowed-packet=1M", "--read-only=1"],
      "--innodb-flush-log-at-trx-commit=2",
    ],
  });
  const config = { ...embedded(broker.url), database: { url: database.url(), pool: { size: 5 } } };
  await withFolder(JSON.stringify(config, null, 2), async (file, dir) => {
    const { out } = await sluice(["check", "-c", file]);
    await assertShown(`check_server_${flavour}`, out, dir);
    const { code, all } = await findings(file);
    assert.equal(code, 0, "warnings are no failure");
    const own = all.filter((it) => it.code !== "mosquitto");
    assert.deepEqual(own.map((it) => `${it.severity} ${it.code}`), [
      "warning read-only",
      "warning recycle",
      "warning pool-size",
      "warning packet",
      "note flush",
    ]);
    const pool: Record<string, unknown> = {};
    for (const { fix } of own) {
      if (fix!.startsWith("SET")) await database.admin(fix!.split(";")[0]);
      else Object.assign(pool, JSON.parse(`{${fix}}`));
    }
    assert.deepEqual(pool, { recycle: "480s", size: 5, maxOverflow: 5 });
    await Deno.writeTextFile(
      file,
      JSON.stringify({ ...config, database: { url: database.url(), pool } }),
    );
    assert.deepEqual(told((await findings(file)).all), []);

    await database.admin("ALTER USER sluice@'%' WITH MAX_USER_CONNECTIONS 3");
    const limited = only((await findings(file)).all, "pool-size");
    assert.match(limited.message, /takes 3 from this user \(max_user_connections\)/);
    assert.equal(limited.fix, `"size": 3, "maxOverflow": 0`);
  });
}

async function notLetIn(_flavour: string, start: Start): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  await database.admin("CREATE USER lonely@'%' IDENTIFIED BY 'secret'");
  const urls = {
    wrong_password: database.url().replace("secret", "wrong"),
    no_database: database.url("cellar_1"),
    no_right: database.url("home", "lonely:secret"),
  };
  for (const [name, url] of Object.entries(urls)) {
    const config = { ...embedded(broker.url), database: { url } };
    await withFolder(JSON.stringify(config, null, 2), async (file, dir) => {
      const { code, out } = await sluice(["check", "-c", file]);
      assert.equal(code, 69);
      const end = out.slice(out.indexOf("error[database]"));
      await assertShown(`check_${name}`, end, dir, [[/@'(localhost|127\.0\.0\.1|%)'/g, "@'HERE'"]]);
    });
  }
  // Where there is no right and no database, what is typed then helps.
  await withFolder({ ...embedded(broker.url), database: { url: urls.no_right } }, async (file) => {
    const { fix } = only((await findings(file)).all, "database");
    for (const sql of fix!.split("\n").slice(1)) await database.admin(sql);
    assert.equal((await findings(file)).code, 0);
  });
}

eachDatabase((flavour, start) => {
  testWith(
    ["mosquitto", flavour],
    `check compares the pool with the limits of ${flavour}, and its hints mend that`,
    () => limits(flavour, start),
  );
  testWith(
    ["mosquitto", flavour],
    `check says why ${flavour} lets nobody in, and what to type`,
    () => notLetIn(flavour, start),
  );
});

testWith(
  ["mosquitto", "mariadb"],
  "check compares the clocks of this machine and the database's",
  async (t) => {
    await using surroundings = await Surroundings.open();
    if (!surroundings.hasClock) {
      return void await t.step({
        name: "needs faketime",
        ignore: true,
        fn: () => {},
      });
    }
    await using broker = await startMosquitto();
    await using database = await startMariadb();
    await withFolder({ ...embedded(broker.url), database: { url: database.url() } }, async (file) => {
      for (
        const [offset, expected] of [[-3_600, /60 min ahead of/], [
          86_400 * 3,
          /3 d behind|71 h|72 h/,
        ]] as const
      ) {
        await surroundings.setClock(offset);
        const { all } = await findings(file, { env: surroundings.env });
        assert.match(only(all, "clock").message, expected);
      }
      await surroundings.setClock(0);
      assert.deepEqual(told((await findings(file, { env: surroundings.env })).all), []);
    });
  },
);
