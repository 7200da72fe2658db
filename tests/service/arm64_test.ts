/**
 * The package for the Raspberry Pi, on an emulated arm64 processor: it is unpacked, and the whole demonstration runs on it,
 * with the small pages of a Pi 4 and the large ones of a Pi 5 (https://github.com/denoland/deno/issues/36282).
 */
import assert from "node:assert/strict";
import { makePackage, runtimeFlags } from "../../config/debian/package.ts";
import { onArm64 } from "../servers/arm64.ts";
import { testWith } from "../servers/needs.ts";
import { run } from "../servers/server_process.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

testWith(["arm64"], "the arm64 package's program runs with pages of 4 and of 16 KiB", async () => {
  const dir = await Deno.makeTempDir({ prefix: "sluice-arm64-" });
  await using _dir = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  const bundle = Deno.env.get("SLUICE_BUNDLE") ?? `${ROOT}dist/sluice.js`;
  if (!Deno.env.get("SLUICE_BUNDLE")) await run(Deno.execPath(), ["task", "bundle"], { cwd: ROOT });
  await run("dpkg-deb", ["-x", await makePackage("arm64", bundle, dir, "gzip"), `${dir}/root`]);
  const lib = `${dir}/root/usr/lib/sluice`;
  const sluice = async (pageBytes: number, ...args: string[]) => {
    const [qemu, ...rest] = onArm64(`${lib}/deno`, pageBytes);
    const deno = ["run", "--quiet", ...runtimeFlags(), `${lib}/sluice.js`];
    return await run(qemu, [...rest, ...deno, ...args], {
      env: { DENO_DIR: `${dir}/cache` },
      timeoutMs: 300_000,
    });
  };
  assert.match(await sluice(4_096, "--version"), /^sluice \d/);
  const said = await sluice(16_384, "demo", "--for", "20s");
  const [, stored] = /deliveries \d+ = stored (\d+)/.exec(said) ?? [];
  assert.ok(Number(stored) > 0, said);
});
