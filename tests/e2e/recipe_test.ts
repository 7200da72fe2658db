/**
 * The README's recipe from nothing to a Grafana graph, run from the README itself, line by line and in its order: only
 * ports and folders are private ones, and what would install or restart something on this machine does nothing.
 */
import assert from "node:assert/strict";
import { freePort } from "../servers/free_port.ts";
import { startMariadb } from "../servers/mariadb.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";
import { programArguments } from "./sluice.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

interface Block {
  readonly language: string;
  readonly text: string;
}

/** The code blocks between the recipe's marks, without the list's indent. */
function recipe(): Block[] {
  const readme = Deno.readTextFileSync(`${ROOT}README.md`);
  const part = /<!-- recipe -->\n([^]*?)<!-- end of the recipe -->/.exec(readme)![1];
  return [...part.matchAll(/^( *)```(\w+)\n([^]*?)^ *```$/gm)].map(([, indent, language, text]) => ({
    language,
    text: text.split("\n").map((line) => line.startsWith(indent) ? line.slice(indent.length) : line).join(
      "\n",
    ),
  }));
}

interface Places {
  readonly dir: string;
  readonly brokerPort: number;
  readonly databasePort: number;
  readonly statusPort: number;
  readonly socket: string;
}

/** What stands for the machine's own programs. */
const prelude = ({ dir, brokerPort, statusPort, socket }: Places): string => `
set -euo pipefail
cd '${dir}'
sudo() { "$@"; }
apt-get() { echo "apt-get $*" >> told; }
systemctl() { echo "systemctl $*" >> told; }
mosquitto_pub() { command mosquitto_pub -p ${brokerPort} "$@"; }
mariadb() { command mariadb --no-defaults --socket='${socket}' --user=root "$@"; }
sluice() {
  if [ "$1" = run ]; then exec '${Deno.execPath()}' ${programArguments().join(" ")} "$@" > run.log 2>&1; fi
  '${Deno.execPath()}' ${programArguments().join(" ")} "$@"
  if [ "$1" = init ]; then sed -i 's/8088/${statusPort}/' sluice.json; fi
}
`;

async function run(text: string, places: Places): Promise<string> {
  const { dir, brokerPort, databasePort } = places;
  const own = text
    .replaceAll(/(?<=\s)(?=\/(etc|var)\/)/g, dir)
    .replaceAll(/(?<=\s)config\//g, `${ROOT}config/`)
    .replaceAll(":1883", `:${brokerPort}`)
    .replaceAll(":3306", `:${databasePort}`)
    // Not a job of this shell, which ends here.
    .replace(/ &$/m, " & echo $! > pid");
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", prelude(places) + own],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const [out, err] = [stdout, stderr].map((it) => new TextDecoder().decode(it));
  assert.equal(code, 0, `${text}\n${out}\n${err}`);
  return out;
}

const undated = (table: string) => table.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}/g, "WHEN").trimEnd();

/** Ends the gateway that the recipe has started. */
async function endGateway(dir: string): Promise<void> {
  const pid = Number(await Deno.readTextFile(`${dir}/pid`).catch(() => "0"));
  if (pid === 0) return;
  Deno.kill(pid, "SIGTERM");
  await waitFor(() => {
    try {
      Deno.kill(pid, "SIGCONT");
      return false;
    } catch {
      return true;
    }
  }, { what: "the gateway to end" });
}

/** The broker, with the settings that the recipe gives it. */
async function brokerOf(services: string, places: Places): Promise<AsyncDisposable> {
  for (const it of ["etc/mosquitto/conf.d", "etc/default"]) {
    await Deno.mkdir(`${places.dir}/${it}`, { recursive: true });
  }
  await run(services, places);
  const lines = await Deno.readTextFile(`${places.dir}/etc/mosquitto/conf.d/sluice.conf`);
  return await startMosquitto({
    port: places.brokerPort,
    persistence: true,
    config: lines.trim().split("\n"),
  });
}

/** What the recipe has put in place for Grafana, and what it would have done as root. */
async function assertGrafana(dir: string, sql: string): Promise<void> {
  const installed = (name: string) => Deno.readTextFile(`${dir}/${name}`);
  for (const name of ["climate", "home", "gateway"]) {
    JSON.parse(await installed(`var/lib/grafana/dashboards/${name}.json`));
  }
  assert.match(
    await installed("etc/grafana/provisioning/datasources/sluice.yaml"),
    /password: \$GRAFANA_DB_PASSWORD/,
  );
  assert.match(
    await installed("etc/grafana/provisioning/dashboards/sluice.yaml"),
    /path: \/var\/lib\/grafana\/dashboards/,
  );
  const password = /GRAFANA_DB_PASSWORD=(\S+)/.exec(await installed("etc/default/grafana-server"))![1];
  assert.ok(sql.includes(`grafana@'127.0.0.1' IDENTIFIED BY '${password}'`));
  assert.deepEqual((await installed("told")).trim().split("\n"), [
    "apt-get install mosquitto mosquitto-clients mariadb-server",
    "apt-get install ./sluice_*.deb",
    "systemctl restart mosquitto",
    "apt-get install grafana",
    "systemctl restart grafana-server",
  ]);
}

testWith(
  ["mosquitto", "mariadb"],
  "the README's recipe leads from nothing to the rows that it shows",
  async () => {
    const blocks = recipe();
    assert.deepEqual(blocks.map((it) => it.language), [
      "sh",
      "sql",
      "sh",
      "sh",
      "sh",
      "sh",
      "sh",
      "text",
      "sh",
    ]);
    const [services, sql, init, sensors, discover, gateway, message, expected, grafana] = blocks;
    const dir = await Deno.makeTempDir({ prefix: "sluice-recipe-" });
    await using database = await startMariadb();
    const places: Places = {
      dir,
      brokerPort: freePort(),
      databasePort: database.port,
      statusPort: freePort(),
      socket: database.socket,
    };
    try {
      await using _broker = await brokerOf(services.text, places);
      await database.admin("DROP DATABASE home");
      await database.admin("DROP USER sluice@'%'");
      await run(`mariadb <<'SQL'\n${sql.text}SQL`, places);
      assert.match(await run(init.text, places), /next:\n {2}sluice check -c sluice\.json\n {2}sluice run/);
      await run(sensors.text, places);
      const found = await run(discover.text, places);
      assert.match(
        found,
        /# Home\/\{device\}\/climate -> climate[^]*row {4}climate[^]*sluice\.json is good \(0 errors, 0 warnings\)/,
      );
      await run(gateway.text, places);
      // Who types is slower than the gateway's first subscription.
      await waitFor(async () => {
        const [{ n }] = await database.admin("SELECT COUNT(*) AS n FROM home.climate");
        return Number(n) === 2;
      }, { what: "what was retained to be stored" }).catch(async (error) => {
        throw new Error(`${error.message}\n${await Deno.readTextFile(`${dir}/run.log`)}`);
      });
      await run(message.text.split("\n")[0], places);
      const select = message.text.split("\n")[1];
      await waitFor(async () => (await run(select, places)).split("\n").length > 7, { what: "the rows" });
      assert.equal(undated(await run(select, places)), undated(expected.text));
      await run(grafana.text, places);
      await assertGrafana(dir, sql.text);
    } finally {
      await endGateway(dir);
      await Deno.remove(dir, { recursive: true });
    }
  },
);

Deno.test("the README names every example that there is", () => {
  const readme = Deno.readTextFileSync(`${ROOT}README.md`);
  for (const { name } of Deno.readDirSync(`${ROOT}config`)) {
    if (/\.jsonc$/.test(name) && name !== "minimal.jsonc") assert.ok(readme.includes(name), name);
  }
});
