/**
 * Tests that need a server: registered as ignored where the server is not installed, so that they count as skipped.
 *
 * A missing server is thereby seen in the sum of the run and can never look like a pass.
 */
import { findArm64 } from "./arm64.ts";
import type { Database, DatabaseOptions, Flavour } from "./database.ts";
import { findProgram } from "./find_program.ts";
import { findFaketime } from "./fake_clock.ts";
import { findMachine } from "./machine.ts";
import { findMariadb, startMariadb } from "./mariadb.ts";
import { findDynsec } from "./mosquitto.ts";
import { findMemoryLimit } from "./memory_limit.ts";
import { findMysql, startMysql } from "./mysql.ts";
import { findNetwork } from "./network.ts";
import { canMakeExt4, canMount } from "./small_disk.ts";

/**
 * `machine`: a Debian with systemd, see `machine.ts`. `arm64`: an emulated processor, see `arm64.ts`. `network`:
 * a network of its own, see `network.ts`. `dynsec`: mosquitto's plugin whose rules can be changed while it runs.
 * `faultyDisk`: a compiler for `faulty_disk.c`. `smallDisk`, `ext4Disk`: file systems of one's own, see
 * `small_disk.ts`. `fakeClock`: libfaketime. `memoryLimit`: see `memory_limit.ts`.
 */
export type Need =
  | ("mosquitto" | "dynsec" | "machine" | "arm64" | "network" | "ipv6" | "promtool")
  | ("faultyDisk" | "smallDisk" | "ext4Disk" | "fakeClock" | "memoryLimit")
  | Flavour;

export type StartDatabase = (options?: DatabaseOptions) => Promise<Database>;

const CHECKS: Readonly<Record<Need, () => boolean>> = {
  mosquitto: () => findProgram("mosquitto") !== undefined,
  dynsec: () => findDynsec() !== undefined,
  mariadb: () => findMariadb() !== undefined,
  mysql: () => findMysql() !== undefined,
  machine: findMachine,
  arm64: findArm64,
  network: findNetwork,
  ipv6: hasIPv6,
  promtool: () => findProgram("promtool") !== undefined,
  faultyDisk: () => findProgram("gcc") !== undefined && findProgram("/usr/include/stdio.h") !== undefined,
  smallDisk: canMount,
  ext4Disk: canMakeExt4,
  memoryLimit: findMemoryLimit,
  fakeClock: () => findFaketime() !== undefined,
};

const known = new Map<Need, boolean>();

/** Whether this can be had on this machine. */
export function isAvailable(need: Need): boolean {
  if (!known.has(need)) known.set(need, CHECKS[need]());
  return known.get(need)!;
}

function hasIPv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

/** `Deno.test` for a test that needs these servers; ignored where one of them is missing. */
export function testWith(
  needs: readonly Need[],
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
  options: Omit<Deno.TestDefinition, "name" | "fn" | "ignore"> = {},
): void {
  Deno.test({ ...options, name, fn, ignore: !needs.every(isAvailable) });
}

/** How to start each flavour, installed or not. */
export const START: Readonly<Record<Flavour, StartDatabase>> = { mariadb: startMariadb, mysql: startMysql };

/** The flavours that are installed. */
export function databases(): Flavour[] {
  return (["mariadb", "mysql"] as const).filter(isAvailable);
}

/** Runs `act` for all installed flavours at the same time, for tests that mostly wait; fails when all have ended. */
export async function withAllDatabases(act: (flavour: Flavour) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(databases().map(act));
  const reasons = results.flatMap((it) => it.status === "rejected" ? [it.reason] : []);
  if (reasons.length === 1) throw reasons[0];
  if (reasons.length > 1) throw new AggregateError(reasons, reasons.map((it) => it.message).join("\n\n"));
}

/**
 * Calls `register` for both flavours, installed or not. It shall register its tests through
 * `testWith([flavour, ...], ...)` and name the flavour in their titles.
 */
export function eachDatabase(register: (flavour: Flavour, start: StartDatabase) => void): void {
  for (const flavour of ["mariadb", "mysql"] as const) register(flavour, START[flavour]);
}
