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
import { findMysql, startMysql } from "./mysql.ts";
import { canMount } from "./small_disk.ts";

/**
 * `machine`: a Debian with systemd, see `machine.ts`. `arm64`: an emulated processor, see `arm64.ts`. `faultyDisk`: a
 * compiler for `faulty_disk.c`. `smallDisk`: a file system of one's own, see `small_disk.ts`. `fakeClock`: libfaketime.
 */
export type Need = "mosquitto" | "machine" | "arm64" | "faultyDisk" | "smallDisk" | "fakeClock" | Flavour;

export type StartDatabase = (options?: DatabaseOptions) => Promise<Database>;

let known: Readonly<Record<Need, boolean>> | undefined;

/** Which servers can be started on this machine. */
export function available(): Readonly<Record<Need, boolean>> {
  return known ??= {
    mosquitto: findProgram("mosquitto") !== undefined,
    mariadb: findMariadb() !== undefined,
    mysql: findMysql() !== undefined,
    machine: findMachine(),
    arm64: findArm64(),
    faultyDisk: findProgram("gcc") !== undefined && findProgram("/usr/include/stdio.h") !== undefined,
    smallDisk: canMount(),
    fakeClock: findFaketime() !== undefined,
  };
}

/** `Deno.test` for a test that needs these servers; ignored where one of them is missing. */
export function testWith(
  needs: readonly Need[],
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
  options: Omit<Deno.TestDefinition, "name" | "fn" | "ignore"> = {},
): void {
  Deno.test({ ...options, name, fn, ignore: !needs.every((need) => available()[need]) });
}

/** How to start each flavour, installed or not. */
export const START: Readonly<Record<Flavour, StartDatabase>> = { mariadb: startMariadb, mysql: startMysql };

/** The flavours that are installed. */
export function databases(): Flavour[] {
  return (["mariadb", "mysql"] as const).filter((flavour) => available()[flavour]);
}

/**
 * Calls `register` for both flavours, installed or not. It shall register its tests through
 * `testWith([flavour, ...], ...)` and name the flavour in their titles.
 */
export function eachDatabase(register: (flavour: Flavour, start: StartDatabase) => void): void {
  for (const flavour of ["mariadb", "mysql"] as const) register(flavour, START[flavour]);
}
