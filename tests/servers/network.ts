/**
 * A network of its own for a program under test: a namespace with a cable to this one, which can be pulled, a second
 * line that never breaks for who watches, and names that mean what the test says. It takes root.
 *
 * Promises that nobody else's network is touched and that all of it is gone after the test. What runs in it must be
 * started by `command`; `near` is where this side's servers are reached from in there.
 */
import { findProgram } from "./find_program.ts";
import { run } from "./server_process.ts";

/** Whether namespaces can be made here; tried once. */
export function findNetwork(): boolean {
  if (Deno.uid() !== 0 || !findProgram("ip")) return false;
  const name = nameOf();
  const ip = (...args: string[]) =>
    new Deno.Command("ip", { args, stdout: "null", stderr: "null" }).outputSync().success;
  const possible = ip("netns", "add", name) && ip("-n", name, "link", "add", "sl-try", "type", "veth");
  ip("netns", "del", name);
  return possible;
}

const nameOf = () => `sluice-${crypto.randomUUID().slice(0, 8)}`;

export class Network implements AsyncDisposable {
  /** This side's addresses on the cable. */
  readonly near: readonly [string, string];
  /** This side's address on the line that never breaks, and the other side's. */
  readonly sure: string;
  readonly watch: string;
  /** Goes before the command of a program that shall run in the namespace. */
  readonly command: readonly string[];
  readonly #name: string;
  readonly #cable: string;

  private constructor(name: string, net: string) {
    this.#name = name;
    this.#cable = `sl${name.slice(-6)}a`;
    this.near = [`${net}.1`, `${net}.2`];
    this.sure = `${net}.17`;
    this.watch = `${net}.18`;
    this.command = ["ip", "netns", "exec", name];
  }

  static async open(): Promise<Network> {
    const byte = () => Math.floor(Math.random() * 256);
    // 198.18.0.0/15 is nobody's: for tests of networks (RFC 2544).
    const network = new Network(nameOf(), `198.${18 + byte() % 2}.${byte()}`);
    try {
      await network.#make();
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #make(): Promise<void> {
    const [cable, watch] = [this.#cable, this.#cable.replace(/a$/, "w")];
    const net = this.near[0].replace(/\.1$/, "");
    await this.names("");
    await Deno.writeTextFile(
      `/etc/netns/${this.#name}/resolv.conf`,
      "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n",
    );
    await ip("netns", "add", this.#name);
    await ip("-n", this.#name, "link", "set", "lo", "up");
    for (const [link, near, far] of [[cable, [1, 2], 3], [watch, [17], 18]] as const) {
      await ip("link", "add", link, "type", "veth", "peer", "name", `${link}x`, "netns", this.#name);
      for (const it of near) await ip("addr", "add", `${net}.${it}/29`, "dev", link);
      await ip("link", "set", link, "up");
      await ip("-n", this.#name, "addr", "add", `${net}.${far}/29`, "dev", `${link}x`);
      await ip("-n", this.#name, "link", "set", `${link}x`, "up");
    }
  }

  async pull(): Promise<void> {
    await ip("link", "set", this.#cable, "down");
  }

  async plug(): Promise<void> {
    await ip("link", "set", this.#cable, "up");
  }

  /** What names mean in there, in the format of /etc/hosts; no other name is known. May be changed at any time. */
  async names(hosts: string): Promise<void> {
    await Deno.mkdir(`/etc/netns/${this.#name}`, { recursive: true });
    await Deno.writeTextFile(`/etc/netns/${this.#name}/hosts`, `127.0.0.1 localhost\n${hosts}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The links go with the namespace, as soon as nothing runs in it.
    await ip("netns", "del", this.#name).catch(() => {});
    for (const link of [this.#cable, this.#cable.replace(/a$/, "w")]) {
      await ip("link", "del", link).catch(() => {});
    }
    await Deno.remove(`/etc/netns/${this.#name}`, { recursive: true }).catch(() => {});
  }
}

async function ip(...args: string[]): Promise<void> {
  await run("ip", args);
}
