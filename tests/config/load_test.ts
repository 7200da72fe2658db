import assert from "node:assert/strict";
import { inspect } from "node:util";
import { jsonSchema } from "../../src/config/json_schema.ts";
import { loadConfig, parseConfig, WrongConfigurationError } from "../../src/config/load.ts";
import { Secret } from "../../src/config/secret.ts";

const CONFIG = new URL("../../config/", import.meta.url);

for await (const { name } of Deno.readDir(CONFIG)) {
  if (!name.endsWith(".jsonc")) continue;
  Deno.test(`the example config/${name} is good`, async () => {
    const { warnings } = await loadConfig(new URL(name, CONFIG).pathname);
    assert.deepEqual(warnings, []);
  });
}

Deno.test("config/sluice.schema.json is what the program itself checks with", async () => {
  const kept = JSON.parse(await Deno.readTextFile(new URL("sluice.schema.json", CONFIG)));
  assert.deepEqual(kept, JSON.parse(JSON.stringify(jsonSchema())), "stale: deno task schema");
});

Deno.test("defaults are filled in, and paths are relative to the file", () => {
  const { config } = parseConfig(
    `{ "name": "x", "broker": { "url": "mqtt://a" }, "database": { "url": "sqlite:home.db" } }`,
    "/etc/sluice/sluice.json",
  );
  assert.equal(config.broker.clientId, "sluice-x");
  assert.equal(config.database.url, "sqlite:/etc/sluice/home.db");
  assert.equal(config.spool.path, "/etc/sluice/spool.db");
  assert.equal(config.broker.sessionExpiry, 7 * 24 * 3_600_000);
  assert.deepEqual(config.routes.map((it) => [it.topic, it.table]), [["Home/#", "messages"]]);
});

Deno.test("a file that is not there, or a folder, is one clear error", async () => {
  await assert.rejects(loadConfig("/nowhere/sluice.json"), (error: WrongConfigurationError) => {
    assert.match(error.message, /there is no such file/);
    assert.match(error.hint!, /sluice init/);
    return true;
  });
  await assert.rejects(loadConfig("/tmp"), /it is a folder/);
});

Deno.test("a secret is read in all four forms and never shown", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/password`, "from a file\n");
    Deno.env.set("SLUICE_TEST_SECRET", "from the environment");
    Deno.env.set("CREDENTIALS_DIRECTORY", dir);
    const secrets = ["plain", { env: "SLUICE_TEST_SECRET" }, { file: `${dir}/password` }, {
      credential: "password",
    }].map((it) => new Secret(it));
    assert.deepEqual(await Promise.all(secrets.map((it) => it.read())), [
      "plain",
      "from the environment",
      "from a file",
      "from a file",
    ]);
    for (const secret of secrets) {
      assert.doesNotMatch(
        `${secret} ${JSON.stringify({ secret })} ${Deno.inspect({ secret })} ${inspect({ secret })}`,
        /plain|from/,
      );
    }
    const database = `{ "url": "mysql://a@b/c", "password": { "file": "password" } }`;
    const text = `{ "broker": { "url": "mqtt://a" }, "database": ${database}, "status": false }`;
    const { config } = parseConfig(text, `${dir}/sluice.json`);
    assert.equal(await config.database.password!.read(), "from a file", "beside the configuration");
    await assert.rejects(new Secret({ env: "SLUICE_NOT_SET" }).read(), /environment variable SLUICE_NOT_SET/);
    await assert.rejects(new Secret({ file: `${dir}/nothing` }).read(), /nothing cannot be read/);
  } finally {
    Deno.env.delete("SLUICE_TEST_SECRET");
    Deno.env.delete("CREDENTIALS_DIRECTORY");
    await Deno.remove(dir, { recursive: true });
  }
});
