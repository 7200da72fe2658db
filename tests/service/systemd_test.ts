import assert from "node:assert/strict";
import type { Clock } from "../../src/clock.ts";
import { extendStart, feedWatchdog, openNotifier } from "../../src/systemd.ts";
import { findProgram } from "../servers/find_program.ts";

const UNIT = new URL("../../config/sluice.service", import.meta.url).pathname;
const analyze = findProgram("systemd-analyze");

async function run(args: string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command("systemd-analyze", {
    args,
    stdout: "piped",
    stderr: "piped",
  }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

Deno.test({
  name: "the unit is one that systemd reads without a complaint",
  ignore: !analyze,
  async fn() {
    // The program is not installed on a test machine; everything else in the unit is real.
    const dir = await Deno.makeTempDir();
    const unit = `${dir}/sluice.service`;
    await Deno.writeTextFile(unit, (await Deno.readTextFile(UNIT)).replace("/usr/bin/sluice", "/bin/true"));
    const { code, text } = await run(["verify", "--man=no", unit]);
    await Deno.remove(dir, { recursive: true });
    assert.equal(code, 0, text);
    assert.doesNotMatch(text, /sluice\.service/);
  },
});

Deno.test({
  name: "the unit's exposure is 2.0 or better",
  ignore: !analyze,
  async fn() {
    const { code, text } = await run(["security", "--offline=true", "--threshold=20", "--no-pager", UNIT]);
    assert.equal(code, 0, text);
    const exposure = Number(/exposure level for sluice\.service: ([\d.]+)/.exec(text)?.[1]);
    assert.ok(exposure <= 2, `exposure ${exposure}`);
  },
});

async function withManager(
  test: (path: string, received: () => Promise<string>, dir: string) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  const manager = Deno.listenDatagram({ transport: "unixpacket", path: `${dir}/notify.sock` });
  try {
    await test(`${dir}/notify.sock`, async () => new TextDecoder().decode((await manager.receive())[0]), dir);
  } finally {
    manager.close();
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("the service manager hears what is notified", async () => {
  await withManager(async (path, received, dir) => {
    const env: Record<string, string> = {
      NOTIFY_SOCKET: path,
      RUNTIME_DIRECTORY: dir,
      WATCHDOG_USEC: "30000000",
    };
    using notifier = openNotifier((name) => env[name]);
    assert.equal(notifier.watchdogMs, 30_000);
    notifier.notify("READY=1\nSTATUS=all is well");
    assert.equal(await received(), "READY=1\nSTATUS=all is well");
  });
});

Deno.test("what is notified at once arrives whole and in order", async () => {
  await withManager(async (path, received, dir) => {
    const env: Record<string, string> = { NOTIFY_SOCKET: path, RUNTIME_DIRECTORY: dir };
    using notifier = openNotifier((name) => env[name]);
    const all = ["WATCHDOG=1", "READY=1\nSTATUS=all is well", "STOPPING=1"];
    for (const state of all) notifier.notify(state);
    for (const state of all) assert.equal(await received(), state);
  });
});

Deno.test("without a service manager nothing is sent and nothing fails", () => {
  using notifier = openNotifier(() => undefined);
  assert.equal(notifier.active, false);
  notifier.notify("READY=1");
});

Deno.test("the watchdog is fed only while the loops turn", async () => {
  await withManager(async (path, received, dir) => {
    const env: Record<string, string> = {
      NOTIFY_SOCKET: path,
      RUNTIME_DIRECTORY: dir,
      WATCHDOG_USEC: "2000000",
    };
    using notifier = openNotifier((name) => env[name]);
    const ticks: { delayMs: number; callback: () => void }[] = [];
    const clock: Clock = {
      now: () => 0,
      wallMs: () => 0,
      timer: (delayMs, callback) => (ticks.push({ delayMs, callback }), { cancel() {} }),
    };
    let alive = true;
    using _feeding = feedWatchdog(notifier, () => alive, () => "2 waiting", clock);
    assert.equal(await received(), "WATCHDOG=1\nSTATUS=2 waiting");
    assert.equal(ticks[0].delayMs, 1_000);
    alive = false;
    ticks[0].callback();
    alive = true;
    ticks[1].callback();
    notifier.notify("STOPPING=1");
    assert.equal(await received(), "WATCHDOG=1\nSTATUS=2 waiting");
    assert.equal(await received(), "STOPPING=1");
  });
});

Deno.test("a start that takes long asks for more time again and again, and no more when it is over", async () => {
  await withManager(async (path, received, dir) => {
    const env: Record<string, string> = { NOTIFY_SOCKET: path, RUNTIME_DIRECTORY: dir };
    using notifier = openNotifier((name) => env[name]);
    const ticks: { delayMs: number; callback: () => void; cancelled: boolean }[] = [];
    const clock: Clock = {
      now: () => 0,
      wallMs: () => 0,
      timer(delayMs, callback) {
        const tick = { delayMs, callback, cancelled: false };
        ticks.push(tick);
        return { cancel: () => tick.cancelled = true };
      },
    };
    const starting = extendStart(notifier, "opening the spool", clock);
    for (const n of [0, 1]) {
      ticks[n].callback();
      const [line, status] = (await received()).split("\n");
      const extendedMs = Number(/^EXTEND_TIMEOUT_USEC=(\d+)$/.exec(line)?.[1]) / 1_000;
      assert.ok(extendedMs > ticks[n].delayMs * 2, `${extendedMs} ms, every ${ticks[n].delayMs} ms`);
      assert.equal(status, "STATUS=opening the spool");
    }
    starting[Symbol.dispose]();
    assert.equal(ticks.at(-1)!.cancelled, true);
  });
});
