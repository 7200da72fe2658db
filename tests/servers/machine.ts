/**
 * A Debian machine of its own for one test, with systemd as its first process: a container made by systemd-nspawn.
 *
 * It has a network of its own, where only loopback is, and whatever is changed in it is gone afterwards: its root is a
 * folder that debootstrap filled (`install.ts`), under an overlay in memory. It takes root.
 */
import { exists } from "./database.ts";
import { findProgram } from "./find_program.ts";
import { run } from "./server_process.ts";
import { waitFor } from "./wait_for.ts";

/** Debian's release of which Raspberry Pi OS is made. */
export const MACHINE_SUITE = "bookworm";
export const MACHINE_PACKAGES = [
  ...["systemd", "systemd-sysv", "dbus", "init-system-helpers", "adduser", "util-linux"],
  ...["mosquitto", "mosquitto-clients", "sqlite3", "ca-certificates", "curl"],
];

export function machineRoot(): string {
  return `${Deno.env.get("SLUICE_TEST_CACHE") ?? "/var/cache/sluice-tests"}/${MACHINE_SUITE}`;
}

/** Whether its root is there, with all that tests use of it. */
export function hasMachineRoot(): boolean {
  return ["systemctl", "mosquitto_pub", "sqlite3"].every((it) => exists(`${machineRoot()}/usr/bin/${it}`));
}

/** Whether a machine can be started here: one is, by this file as a program. Takes seconds where it can. */
export function findMachine(): boolean {
  if (Deno.uid() !== 0 || !findProgram("systemd-nspawn") || !hasMachineRoot()) return false;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", import.meta.url],
    ...{ stdin: "null", stdout: "null", stderr: "inherit" },
  }).outputSync().success;
}

const nspawnArgs = (name: string) => [
  ...["--quiet", "--boot", "--register=no", "--keep-unit", "--volatile=overlay", "--private-network"],
  ...["--console=pipe", `--machine=${name}`],
];

export interface Ended {
  readonly code: number;
  /** What it wrote to stdout and stderr. */
  readonly text: string;
}

export class Machine implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #output: Promise<Deno.CommandOutput>;
  #leader = 0;

  /** Boots; `shared` is a folder that the machine sees, read-only, as /mnt. */
  static async boot(shared: string): Promise<Machine> {
    const machine = new Machine(shared);
    try {
      await machine.#booted();
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(shared: string) {
    this.#child = new Deno.Command("systemd-nspawn", {
      args: [
        ...nspawnArgs(`sluice-${crypto.randomUUID().slice(0, 8)}`),
        ...[`--bind-ro=${shared}:/mnt`, "-D", machineRoot()],
      ],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#output = this.#child.output();
  }

  async #booted(): Promise<void> {
    await waitFor(async () => {
      // Asked anew each time: the first that systemd-nspawn starts is not the one that stays.
      this.#leader = Number((await run("pgrep", ["-P", `${this.#child.pid}`])).trim());
      return /running|degraded/.test((await this.ask("systemctl is-system-running")).text);
    }, { what: "the machine to boot", timeoutMs: 120_000, intervalMs: 100 });
  }

  /** Runs shell commands as root in the machine. Throws where they fail. */
  async sh(script: string): Promise<string> {
    const { code, text } = await this.ask(script);
    if (code !== 0) throw new Error(`${script}\nended with code ${code}:\n${text}`);
    return text;
  }

  /** As `sh`, with the exit code for the asking. */
  async ask(script: string): Promise<Ended> {
    const { code, stdout, stderr } = await new Deno.Command("nsenter", {
      args: [
        ...["-t", `${this.#leader}`, "-m", "-u", "-i", "-n", "-p"],
        ...["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "sh", "-c", script],
      ],
      cwd: "/",
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#leader) await this.ask("systemctl poweroff --force --force");
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It is off.
    }
    await this.#output;
  }
}

if (import.meta.main) {
  await using _machine = await Machine.boot(machineRoot());
}
