/**
 * `sluice init` as a user runs it: with flags alone, and with answers typed on a terminal; broker and database are real.
 */
import assert from "node:assert/strict";
import { startEmbeddedBroker } from "../../src/demo/broker.ts";
import { parseConfig } from "../../src/config/load.ts";
import { initialConfiguration } from "../../src/config/initial.ts";
import { freePort } from "../servers/free_port.ts";
import { startMariadb } from "../servers/mariadb.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { Program, sluice, testOnTerminal, withFolder } from "./program.ts";
import { assertShown } from "./shown.ts";

const filesIn = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
const load = async (file: string) => parseConfig(await Deno.readTextFile(file), file).config;

testWith(
  ["mosquitto", "mariadb"],
  "with every flag given, init asks nothing and writes what check approves of",
  async () => {
    await using broker = await startMosquitto({ users: { attic: "open sesame" } });
    await using database = await startMariadb();
    await withFolder(undefined, async (file, dir) => {
      await Deno.writeTextFile(`${dir}/mqtt`, "open sesame\n");
      const args = ["--broker", broker.url, "--broker-username", "attic", "--broker-password-file", "mqtt"];
      const url = database.url().replace(":secret@", "@");
      const all = ["init", ...args, "--database", url, "--name", "pi-attic"];
      const { code, out, err } = await sluice(all, { cwd: dir, env: { DB_PASSWORD: "secret" } });
      assert.equal(code, 0, err);
      assert.match(err, /ok: the broker at mqtt:\S+ lets us in[^]*ok: the database home at \S+ lets us in/);
      assert.equal(out, "\nnext:\n  sluice check -c sluice.json\n  sluice run -c sluice.json\n");
      assert.deepEqual(filesIn(dir), ["mqtt", "sluice.json"]);
      const text = await Deno.readTextFile(file);
      assert.match(text, /^\/\/ Sluice/);
      assert.match(text, /"password": \{ "env": "DB_PASSWORD" \}/);
      assert.doesNotMatch(text, /secret|sesame/);
      const config = await load(file);
      assert.deepEqual([config.name, config.broker.username, config.broker.version], [
        "pi-attic",
        "attic",
        5,
      ]);
      assert.equal(await config.broker.password?.read(), "open sesame");
      const checked = await sluice(["check", "-c", file], { env: { DB_PASSWORD: "secret" } });
      assert.equal(checked.code, 0, checked.out);

      const again = await sluice(all, { cwd: dir, env: { DB_PASSWORD: "secret" } });
      assert.equal(again.code, 1);
      assert.match(again.err, /sluice\.json exists already, and init overwrites nothing/);
      assert.equal(await Deno.readTextFile(file), text);
    });
  },
);

testWith(
  ["mosquitto", "mariadb"],
  "a password in a URL goes to a file that only its owner may read",
  async () => {
    await using broker = await startMosquitto();
    await using database = await startMariadb();
    await withFolder(undefined, async (file, dir) => {
      await Deno.writeTextFile(`${dir}/database-password`, "someone else's\n");
      const args = ["init", file, "--yes", "--broker", broker.url, "--database", database.url()];
      const { code, err } = await sluice(args);
      assert.equal(code, 0, err);
      assert.match(err, /database-password-2 has the password, only you may read it/);
      assert.equal((await Deno.stat(`${dir}/database-password-2`)).mode! & 0o777, 0o600);
      assert.equal(await Deno.readTextFile(`${dir}/database-password`), "someone else's\n");
      assert.doesNotMatch(await Deno.readTextFile(file), /secret/);
      assert.equal(await (await load(file)).database.password?.read(), "secret");
      assert.equal((await sluice(["check", "-c", file])).code, 0);
    });
  },
);

Deno.test("what does not work is said with its exit code, and nothing is written", async () => {
  const away = `127.0.0.1:${freePort()}`;
  await withFolder(undefined, async (file, dir) => {
    const cases: [string[], number, RegExp][] = [
      [[], 2, /--broker and --database are missing/],
      [["--broker", "mqtt://a"], 2, /--database is missing/],
      [["--broker", "http://a", "--database", "sqlite:a"], 2, /--broker: .*mqtt:\/\//],
      [["--broker", "mqtt://a", "--database", "mysql://a"], 2, /--database: .*names no database/],
      [["--broker", `mqtt://${away}`, "--database", "sqlite:a"], 69, /cannot be reached[^]*\n.*--offline/],
      [["--yes", "--broker", `mqtt://${away}`, "--broker-password-file", "none"], 2, /none cannot be read/],
    ];
    for (const [args, expected, message] of cases) {
      const { code, out, err } = await sluice(["init", file, ...args], { cwd: dir });
      assert.equal(code, expected, err);
      assert.match(err, message);
      assert.equal(out, "");
    }
    const nowhere = await sluice(["init", `${dir}/no/such.json`, "--yes", "--offline"]);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.err, /there is no folder .*\n.*mkdir -p/);
    assert.deepEqual(filesIn(dir), []);
  });
});

testWith(["mosquitto", "mariadb"], "a database that refuses is said with the SQL that mends it", async () => {
  await using broker = await startMosquitto();
  await using database = await startMariadb();
  await withFolder(undefined, async (file, dir) => {
    const wrong = database.url().replace("secret", "wrong");
    const args = ["init", file, "--broker", broker.url, "--database", wrong];
    const { code, err } = await sluice(args);
    assert.equal(code, 69, err);
    assert.match(err, /Access denied.*\n.*administrator[^]*GRANT ALL ON `home`\.\* TO 'sluice'@'%';\n/);
    assert.deepEqual(filesIn(dir), []);
  });
});

Deno.test("an old broker gets the old version of MQTT, and --offline tries nothing", async () => {
  await using broker = await startEmbeddedBroker();
  await withFolder(undefined, async (file, dir) => {
    const { code, err } = await sluice([
      "init",
      file,
      "--broker",
      broker.url,
      "--database",
      "sqlite:home.db",
    ]);
    assert.equal(code, 0, err);
    assert.equal((await load(file)).broker.version, 4);
    const args = ["init", "it's.json", "--yes", "--offline"];
    const offline = await sluice(args, { cwd: dir });
    assert.equal(offline.code, 0, offline.err);
    assert.match(offline.out, /sluice run -c 'it'\\''s\.json'/);
    assert.equal((await load(`${dir}/it's.json`)).broker.url, "mqtt://127.0.0.1:1883");
  });
});

testOnTerminal(
  ["mosquitto", "mariadb"],
  "on a terminal init asks, tries each answer, and lets it be mended",
  async () => {
    await using broker = await startMosquitto({ users: { attic: "open sesame" } });
    await using database = await startMariadb();
    await withFolder(undefined, async (file, dir) => {
      await using program = new Program(["init", file, "--name", "pi"], { terminal: true, cwd: dir });
      let seen = 0;
      /** Waits for a question that was not answered yet. */
      const asked = async (question: RegExp) => {
        await program.until(`the question ${question}`, ({ out }) => question.test(out.slice(seen)));
        seen = program.out.length;
      };
      const retype = (text: string) => program.type("\x15" + text + "\r");
      await asked(/The broker/);
      await retype(broker.url);
      await asked(/refuses the log-in[^]*give a user name/);
      await program.type("\r");
      await asked(/User name at the broker/);
      await retype("attic");
      await asked(/Password at the broker/);
      await program.type("open sesame\r");
      await asked(/lets us in[^]*The database/);
      await retype(database.url().replace(":secret@", "@"));
      await asked(/Password at the database/);
      await program.type("wrong\r");
      await asked(/Access denied[^]*change the answer/);
      await program.type("\r");
      await asked(/The database/);
      await program.type("\r");
      await asked(/Password at the database/);
      await program.type("secret\r");
      const { code, out } = await program.ended();
      assert.equal(code, 0, out);
      assert.match(out, /sluice check -c [^]*sluice run -c/);
      assert.doesNotMatch(out, /secret|sesame/);
      assert.deepEqual(filesIn(dir), ["broker-password", "database-password", "sluice.json"]);
      for (const name of ["broker-password", "database-password"]) {
        assert.equal((await Deno.stat(`${dir}/${name}`)).mode! & 0o777, 0o600);
      }
      const checked = await sluice(["check", "-c", file]);
      assert.equal(checked.code, 0, checked.out);
    });
  },
);

testOnTerminal([], "who gives up at a question has written nothing", async () => {
  await withFolder(undefined, async (file, dir) => {
    await using program = new Program(["init", file, "--offline"], { terminal: true });
    await program.until("the first question", ({ out }) => /The broker/.test(out));
    await program.type("\x03");
    const { code, out } = await program.ended();
    assert.equal(code, 1);
    assert.match(out, /given up; nothing was written/);
    assert.deepEqual(filesIn(dir), []);
  });
});

testOnTerminal(
  [],
  "a wrong answer is said before it is taken, and Ctrl-C at any question writes nothing",
  async () => {
    const away = `mqtt://127.0.0.1:${freePort()}`;
    await withFolder(undefined, async (file, dir) => {
      await using program = new Program(["init", file, "--database", "sqlite:a.db"], {
        terminal: true,
        cwd: dir,
      });
      await program.until("the first question", ({ out }) => /The broker/.test(out));
      await program.type("\x15http://a\r");
      await program.until("what is wrong", ({ out }) => /not one of mqtt:\/\//.test(out));
      await program.type(`\x15${away}\r`);
      await program.until("what it met", ({ out }) => /cannot be reached[^]*And now\?/.test(out));
      await program.type("\x03");
      const { code, out } = await program.ended();
      assert.equal(code, 1);
      assert.match(out, /given up; nothing was written/);
      assert.deepEqual(filesIn(dir), []);
    });
  },
);

testOnTerminal([], "an answer that cannot be tried now can be kept", async () => {
  const away = `mqtt://127.0.0.1:${freePort()}`;
  await withFolder(undefined, async (file, dir) => {
    const args = ["init", file, "--broker", away, "--database", "sqlite:a.db", "--name", "pi"];
    await using program = new Program(args, { terminal: true, cwd: dir });
    await program.until("what it met", ({ out }) => /cannot be reached[^]*And now\?/.test(out));
    await program.type("\x1b[B\r");
    const { code, out } = await program.ended();
    assert.equal(code, 0, out);
    assert.equal((await load(file)).broker.url, away);
  });
});

Deno.test("who interrupts a trial has written nothing, and is not shown a stack", async () => {
  // It takes the connection and says nothing.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  await withFolder(undefined, async (file, dir) => {
    const args = ["init", file, "--broker", `mqtt://127.0.0.1:${port}`, "--database", "sqlite:a.db"];
    await using program = new Program(args, { cwd: dir });
    using _connection = await listener.accept();
    program.kill("SIGINT");
    const { code, err } = await program.ended();
    assert.equal(code, 1);
    assert.equal(err, "interrupted\n");
    assert.deepEqual(filesIn(dir), []);
  });
});

testWith(["mosquitto", "mariadb"], "what init writes and says, as a text", async () => {
  await using broker = await startMosquitto();
  await using database = await startMariadb();
  await withFolder(undefined, async (file, dir) => {
    const away = [
      "init",
      "other.json",
      "--broker",
      `mqtt://127.0.0.1:${freePort()}`,
      "--database",
      "sqlite:a.db",
    ];
    const runs = [
      ["init", "sluice.json", "--name", "attic", "--broker", broker.url, "--database", database.url()],
      ["init", "sluice.json", "--yes"],
      away,
      ["init"],
      ["init", "new.json"],
    ];
    const texts: string[] = [];
    for (const args of runs) {
      const { code, out, err } = await sluice(args, { cwd: dir });
      texts.push(`$ sluice ${args.join(" ")}\n${err}${out}exit code ${code}\n`);
    }
    texts.push(`$ cat sluice.json\n${await Deno.readTextFile(file)}`);
    await assertShown("init", texts.join("\n").replaceAll("secret", "********"), dir);
  });
});

Deno.test("no answer can break the text of a configuration", () => {
  for (const name of [`a":b`, `}" // `, "\\", "/*", "ä\u2028\n"]) {
    const text = initialConfiguration({
      name,
      brokerUrl: "mqtt://a",
      brokerUsername: name,
      brokerPassword: { file: name },
      databaseUrl: "sqlite:a",
      databasePassword: { env: name },
    });
    const { config } = parseConfig(text, "/a.json");
    assert.deepEqual([config.name, config.broker.username], [name, name]);
  }
});
