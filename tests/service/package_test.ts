/**
 * The Debian package on a machine with systemd: installed, set up, run, watched, upgraded and purged as a user would.
 *
 * What is tested is the unit as it is shipped, with its sandbox, under a systemd that lives; only the watchdog is made
 * faster.
 */
import assert from "node:assert/strict";
import { makePackage } from "../../config/debian/package.ts";
import { Machine } from "../servers/machine.ts";
import { testWith } from "../servers/needs.ts";
import { run } from "../servers/server_process.ts";
import { waitFor } from "../servers/wait_for.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const CONFIG = "/etc/sluice/sluice.json";
const AS_SLUICE = "cd / && setpriv --reuid=sluice --regid=sluice --init-groups env HOME=/var/lib/sluice";

async function packageFile(dir: string): Promise<string> {
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
  // The runner has made the bundle already, and other tests are using it.
  const bundle = Deno.env.get("SLUICE_BUNDLE");
  if (!bundle) await run(Deno.execPath(), ["task", "bundle"], { cwd: ROOT });
  const path = await makePackage(arch, bundle ?? `${ROOT}dist/sluice.js`, dir, "gzip");
  return path.slice(path.lastIndexOf("/") + 1);
}

/** One property of the service. */
async function property(machine: Machine, name: string): Promise<string> {
  return (await machine.sh(`systemctl show sluice --value -p ${name}`)).trim();
}

function until(machine: Machine, name: string, value: string): Promise<unknown> {
  const state = "journalctl -u sluice --no-pager -n 30; systemctl status sluice --no-pager -n 0";
  return waitFor(async () => await property(machine, name) === value, {
    what: `${name} to be ${value}`,
    timeoutMs: 60_000,
    intervalMs: 100,
  }).catch(async (error) => {
    throw new Error(`${error.message}\n${(await machine.ask(state)).text}`);
  });
}

async function stored(machine: Machine, text: string): Promise<void> {
  // What is published before the first subscription nobody keeps.
  await waitFor(async () => (await machine.ask("curl -fsS http://127.0.0.1:8088/readyz")).code === 0, {
    what: "the gateway to be ready",
    timeoutMs: 60_000,
    intervalMs: 100,
  });
  await machine.sh(`mosquitto_pub -h 127.0.0.1 -q 1 -t Home/attic/note -m ${text}`);
  const sql = `SELECT count(*) FROM messages WHERE CAST(payload AS TEXT) = '${text}'`;
  await waitFor(async () => (await machine.sh(`sqlite3 /var/lib/sluice/home.db "${sql}"`)).trim() === "1", {
    what: `the row of ${text}`,
    intervalMs: 100,
  });
}

async function installed(machine: Machine, file: string): Promise<void> {
  const said = await machine.sh(`dpkg -i /mnt/${file}`);
  assert.match(said, /sudo -u sluice sluice init \/etc\/sluice\/sluice\.json/);
  assert.equal(await property(machine, "UnitFileState"), "enabled");
  assert.equal((await machine.sh("stat -c '%U %a' /etc/sluice")).trim(), "sluice 750");
  assert.match(await machine.sh("sluice --version"), /^sluice \d/);
  // Without a configuration a boot is no failure.
  await machine.sh("systemctl start sluice");
  assert.equal(await property(machine, "ActiveState"), "inactive");
}

async function setUp(machine: Machine): Promise<void> {
  await machine.sh(`${AS_SLUICE} sluice init ${CONFIG} --yes --name pi`);
  assert.match(await machine.sh(`${AS_SLUICE} sluice check -c ${CONFIG}`), /is good/);
  await machine.sh("systemctl start sluice");
  assert.equal(await property(machine, "ActiveState"), "active");
  await until(machine, "StatusText", "0 waiting, 0 stored");
  const status = await machine.sh(`cat /proc/${await property(machine, "MainPID")}/status`);
  assert.match(status, /^Seccomp:\s+2$/m);
  assert.match(status, /^NoNewPrivs:\s+1$/m);
  assert.match(status, /^CapEff:\s+0+$/m);
  await stored(machine, "first");
}

async function reloaded(machine: Machine): Promise<void> {
  const pid = await property(machine, "MainPID");
  await machine.sh(`sed -i 's/"name": "pi"/"name": "attic"/' ${CONFIG} && systemctl reload sluice`);
  await waitFor(async () => /loaded again/.test(await machine.sh("journalctl -u sluice --no-pager")), {
    what: "the reload",
  });
  await machine.sh(`cp ${CONFIG} /tmp/good && echo '{' > ${CONFIG} && systemctl reload sluice`);
  await waitFor(async () => /not loaded again/.test(await machine.sh("journalctl -u sluice --no-pager")), {
    what: "the refusal",
  });
  await machine.sh(`cat /tmp/good > ${CONFIG}`);
  assert.equal(await property(machine, "MainPID"), pid);
  await stored(machine, "second");
}

async function watched(machine: Machine): Promise<void> {
  const pid = await property(machine, "MainPID");
  await machine.sh(`kill -9 ${pid}`);
  await until(machine, "NRestarts", "1");
  await until(machine, "ActiveState", "active");
  await stored(machine, "third");
  await machine.sh(
    "mkdir -p /run/systemd/system/sluice.service.d && " +
      "printf '[Service]\\nWatchdogSec=3\\n' > /run/systemd/system/sluice.service.d/fast.conf && " +
      "systemctl daemon-reload && systemctl restart sluice",
  );
  // Fed, it lives longer than its watchdog's period.
  const fed = await property(machine, "WatchdogTimestampMonotonic");
  await waitFor(
    async () => Number(await property(machine, "WatchdogTimestampMonotonic")) > Number(fed) + 6e6,
    {
      what: "the watchdog to be fed",
      intervalMs: 200,
    },
  );
  const fourth = await property(machine, "MainPID");
  await machine.sh(`kill -STOP ${fourth}`);
  await waitFor(async () => await property(machine, "MainPID") !== fourth, {
    what: "the watchdog to bite",
    timeoutMs: 60_000,
    intervalMs: 200,
  });
  await until(machine, "ActiveState", "active");
  await stored(machine, "fourth");
}

async function misconfigured(machine: Machine): Promise<void> {
  await machine.sh(`sed -i 's/"broker"/"brocker"/' ${CONFIG}`);
  await machine.ask("systemctl restart sluice");
  await until(machine, "ActiveState", "failed");
  assert.equal(await property(machine, "ExecMainStatus"), "78");
  assert.match(await machine.sh("journalctl -u sluice --no-pager"), /did you mean "broker"\?/);
  await machine.sh(`cat /tmp/good > ${CONFIG} && systemctl restart sluice`);
}

async function upgraded(machine: Machine, file: string): Promise<void> {
  const pid = await property(machine, "MainPID");
  await machine.sh(`dpkg -i /mnt/${file}`);
  await until(machine, "ActiveState", "active");
  const now = await property(machine, "MainPID");
  assert.notEqual(now, pid);
  await stored(machine, "fifth");
  await machine.sh(`sed -i 's/"broker"/"brocker"/' ${CONFIG}`);
  assert.match(await machine.sh(`dpkg -i /mnt/${file}`), /the old program goes on/);
  assert.equal(await property(machine, "MainPID"), now);
  await machine.sh(`cat /tmp/good > ${CONFIG}`);
}

async function purged(machine: Machine): Promise<void> {
  await machine.sh("systemctl stop sluice");
  assert.equal(await property(machine, "Result"), "success");
  await machine.sh("systemctl start sluice && dpkg --purge sluice");
  assert.notEqual((await machine.ask("systemctl is-active sluice")).code, 0);
  const left = await machine.sh("ls -d /etc/sluice /var/lib/sluice /usr/lib/sluice 2>/dev/null; true");
  assert.equal(left, "");
}

/** In this order, on one machine. */
const STEPS: readonly [title: string, step: (machine: Machine, file: string) => Promise<void>][] = [
  ["installing makes a user, enables the service, and says what is next", installed],
  ["init as the user, start: ready, in its sandbox, and rows arrive", setUp],
  ["a reload takes the new file and keeps the process; a bad one changes nothing", reloaded],
  ["a process that was killed or that hangs is started anew", watched],
  ["a wrong configuration ends it for good, with exit code 78", misconfigured],
  ["an upgrade starts the new program where it takes the configuration", upgraded],
  ["a stop is clean; a purge leaves nothing behind", purged],
];

testWith(["machine"], "the package is installed, set up, run, watched, upgraded and purged", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "sluice-package-" });
  await using _dir = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  const file = await packageFile(dir);
  await using machine = await Machine.boot(dir);
  for (const [title, step] of STEPS) await t.step(title, () => step(machine, file));
});
