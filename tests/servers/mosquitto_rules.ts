/**
 * Rules for a mosquitto that may be changed while it runs: its plugin for dynamic security, with everything allowed but
 * what a test forbids. Rules of an `acl_file` would not do: mosquitto never refuses a subscription for them.
 */
import { findDynsec, type Mosquitto } from "./mosquitto.ts";
import { publish } from "./publisher.ts";
import { run } from "./server_process.ts";

export class Rules implements AsyncDisposable {
  /** Lines for mosquitto.conf. */
  readonly config: readonly string[];
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
    this.config = [`plugin ${findDynsec()}`, `plugin_opt_config_file ${dir}/rules.json`];
  }

  /** Rules under which nobody may subscribe. */
  static async open(): Promise<Rules> {
    const rules = new Rules(await Deno.makeTempDir({ prefix: "sluice-rules-" }));
    const file = `${rules.#dir}/rules.json`;
    await run("mosquitto_ctrl", ["dynsec", "init", file, "admin", "secret"]);
    const made = JSON.parse(await Deno.readTextFile(file));
    const defaultACLAccess = {
      publishClientSend: true,
      publishClientReceive: true,
      subscribe: false,
      unsubscribe: true,
    };
    await Deno.writeTextFile(file, JSON.stringify({ ...made, defaultACLAccess }));
    return rules;
  }

  async allowSubscriptions({ url }: Mosquitto, allow: boolean): Promise<void> {
    const acls = [{ acltype: "subscribe", allow }];
    const payload = JSON.stringify({ commands: [{ command: "setDefaultACLAccess", acls }] });
    const topic = "$CONTROL/dynamic-security/v1";
    const accepted = await publish(url.replace("//", "//admin:secret@"), [{ topic, payload }]);
    if (accepted.length === 0) throw new Error("the broker does not take the rules");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#dir, { recursive: true });
  }
}
