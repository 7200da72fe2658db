/**
 * The program as a process: what goes to which stream, and the exit codes that scripts rely on.
 */
import assert from "node:assert/strict";
import { programArguments } from "../e2e/sluice.ts";
import { freePort } from "../servers/free_port.ts";
import { startMariadb } from "../servers/mariadb.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function sluice(...args: string[]): Promise<Ended> {
  const command = new Deno.Command(Deno.execPath(), {
    args: [...programArguments(), ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  });
  const { code, stdout, stderr } = await command.output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

async function withConfig(config: unknown, test: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${dir}/sluice.json`,
      typeof config === "string" ? config : JSON.stringify(config),
    );
    await test(`${dir}/sluice.json`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const away = () => ({
  broker: { url: `mqtt://127.0.0.1:${freePort()}` },
  database: { url: `mysql://sluice:secret@127.0.0.1:${freePort()}/home` },
});

Deno.test("help and version go to stdout and are no error", async () => {
  const help = await sluice("--help");
  assert.equal(help.code, 0);
  assert.match(help.out, /run .*the gateway/);
  assert.equal((await sluice("--version")).out, "sluice 0.1.0\n");
  assert.match((await sluice("check", "--help")).out, /--offline/);
});

Deno.test("wrong usage is exit code 2 and says what was meant", async () => {
  const cases: [string[], RegExp][] = [
    [[], /usage: sluice COMMAND/],
    [["chekc"], /did you mean "check"/],
    [["check", "--ofline", "-c", "x"], /did you mean --offline/],
    [["run"], /-c FILE/],
    [["explain", "-c", "x", "topic"], /TOPIC PAYLOAD/],
    [["completion", "tcsh"], /known shells: bash, zsh, fish/],
  ];
  for (const [args, expected] of cases) {
    const { code, out, err } = await sluice(...args);
    assert.equal(code, 2, `${args}: ${err}`);
    assert.match(err, expected);
    assert.equal(out, "");
    assert.doesNotMatch(err, /^\s+at /m, "no stack trace");
  }
});

Deno.test("a wrong configuration is exit code 78 for every command, with a code frame", async () => {
  await withConfig(
    `{ "broker": { "urll": "mqtt://a" }, "database": { "url": "sqlite:a" } }`,
    async (path) => {
      for (
        const args of [["run", "-c", path], ["check", "--offline", "-c", path], [
          "explain",
          "-c",
          path,
          "a",
          "b",
        ], ["ddl", "-c", path]]
      ) {
        const { code, out, err } = await sluice(...args);
        assert.equal(code, 78, err);
        assert.match(out + err, /did you mean "url"\?/);
      }
    },
  );
  assert.equal((await sluice("run", "-c", "/nowhere.json")).code, 78);
});

Deno.test("a good file passes check --offline, and its last line is the verdict", async () => {
  await withConfig(away(), async (path) => {
    const { code, out } = await sluice("check", "--offline", "-c", path);
    assert.equal(code, 0);
    assert.match(out.trimEnd().split("\n").at(-1)!, /is good \(0 errors, 0 warnings\)/);
  });
});

Deno.test("check says which service is out of reach, with exit code 69", async () => {
  await withConfig(away(), async (path) => {
    const { code, out } = await sluice("check", "-c", path);
    assert.equal(code, 69);
    assert.match(out, /error\[broker\]/);
    assert.match(out, /error\[database\]/);
    assert.doesNotMatch(out, /secret/);
    const json = await sluice("check", "--json", "-c", path);
    const findings = json.out.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(findings.map((it) => [it.severity, it.code, it.line > 0]), [["error", "broker", true], [
      "error",
      "database",
      true,
    ]]);
  });
});

Deno.test("status without a gateway is exit code 69", async () => {
  await withConfig({ ...away(), status: { listen: `127.0.0.1:${freePort()}` } }, async (path) => {
    const { code, err } = await sluice("status", "-c", path);
    assert.equal(code, 69);
    assert.match(err, /no gateway answers/);
  });
});

testWith(
  ["mosquitto", "mariadb"],
  "check compares routes with the real tables and prints the SQL that mends them",
  async () => {
    await using broker = await startMosquitto();
    await using database = await startMariadb();
    await database.admin(
      "CREATE TABLE home.climate (id int PRIMARY KEY, room varchar(4) CHARACTER SET latin1, must int NOT NULL) ENGINE=MyISAM",
    );
    const columns = {
      room: { value: "{room}", type: "varchar(40)" },
      temperature: { value: "$.t", type: "double" },
    };
    const config = {
      broker: { url: broker.url },
      database: { url: database.url(), createTables: false },
      routes: [{ topic: "Home/{room}/climate", table: "climate", decode: "json", columns }, {
        topic: "x/y",
        table: "missing",
      }],
    };
    await withConfig(config, async (path) => {
      const { code, out } = await sluice("check", "--json", "-c", path);
      const all = out.trimEnd().split("\n").map((line) => JSON.parse(line));
      const codes = all.filter((it) => it.severity !== "note").map((it) => it.code).sort();
      assert.deepEqual(codes, [
        "column-missing",
        "column-needs-value",
        "column-needs-value",
        "column-too-short",
        "not-transactional",
        "not-utf8mb4",
        "table-missing",
      ]);
      assert.equal(code, 1);
      assert.match(
        (await sluice("check", "-c", path)).out,
        /ALTER TABLE `climate` ADD COLUMN `temperature` DOUBLE NULL/,
      );
    });
    await withConfig({ broker: { url: broker.url }, database: { url: database.url() } }, async (path) => {
      const { code, out } = await sluice("check", "-c", path);
      assert.equal(code, 0, out);
    });
    await withConfig({
      broker: { url: broker.url },
      database: { url: database.url().replace("secret", "wrong") },
    }, async (path) => {
      const { code, out } = await sluice("check", "-c", path);
      assert.equal(code, 69);
      assert.match(out, /Access denied/);
    });
  },
);
