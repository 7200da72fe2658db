/**
 * mosquitto_pub and mosquitto_sub, run as programs: a second opinion from a client that nobody here wrote.
 */
import { run } from "./server_process.ts";

export interface MosquittoClientOptions {
  /** Default 1. */
  readonly qos?: 0 | 1 | 2;
  /** 5 or 4 (= 3.1.1). Default 5. */
  readonly version?: 4 | 5;
  readonly clientId?: string;
  readonly retain?: boolean;
  /** Further arguments as they are. */
  readonly args?: readonly string[];
}

/** Publishes each payload (which must not contain a line break) to `topic`. Throws where mosquitto_pub fails. */
export async function mosquittoPub(
  url: string,
  topic: string,
  payloads: readonly string[],
  options: MosquittoClientOptions = {},
): Promise<void> {
  const more = ["-l", ...(options.retain ? ["-r"] : [])];
  await run("mosquitto_pub", [...clientArgs(url, topic, options), ...more], {
    stdin: payloads.map((payload) => payload + "\n").join(""),
  });
}

/** Subscribes and returns the first `count` payloads as text. Throws where they do not come within `timeoutS` seconds. */
export async function mosquittoSub(
  url: string,
  topic: string,
  count: number,
  options: MosquittoClientOptions & { timeoutS?: number } = {},
): Promise<string[]> {
  const more = ["-C", String(count), "-W", String(options.timeoutS ?? 20)];
  const out = await run("mosquitto_sub", [...clientArgs(url, topic, options), ...more]);
  return out.split("\n").slice(0, -1);
}

/** Subscribes and returns all payloads before the first one that is `last`. Throws where it does not come within `timeoutS` seconds. */
export async function mosquittoSubUntil(
  url: string,
  topic: string,
  last: string,
  options: MosquittoClientOptions & { timeoutS?: number } = {},
): Promise<string[]> {
  const args = [...clientArgs(url, topic, options), "-W", String(options.timeoutS ?? 20)];
  const child = new Deno.Command("mosquitto_sub", { args, stdin: "null", stdout: "piped", stderr: "inherit" })
    .spawn();
  let text = "";
  let found = -1;
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    found = `\n${text}`.indexOf(`\n${last}\n`);
    if (found >= 0) break;
  }
  if (found >= 0) child.kill("SIGKILL");
  await child.status;
  if (found < 0) {
    throw new Error(`${JSON.stringify(last)} did not come on ${topic}; came:\n${text.slice(-500)}`);
  }
  return text.slice(0, found).split("\n").slice(0, -1);
}

/** Subscribes with a session that outlives the connection (MQTT 5: for an hour) and goes; what comes then waits in the broker. */
export async function mosquittoSession(
  url: string,
  topic: string,
  options: MosquittoClientOptions & { clientId: string },
): Promise<void> {
  // `-E` ends mosquitto_sub as soon as the subscription is acknowledged.
  await run("mosquitto_sub", [...clientArgs(url, topic, options), ...sessionArgs(options), "-E"]);
}

/** The arguments with which mosquitto_sub takes up a session of `mosquittoSession` again. */
export function sessionArgs({ version }: MosquittoClientOptions): string[] {
  return version === 4 ? ["-c"] : ["-c", "-x", "3600"];
}

function clientArgs(url: string, topic: string, options: MosquittoClientOptions): string[] {
  const { hostname, port, username, password } = new URL(url);
  return [
    ...["-h", hostname, "-p", port || "1883", "-t", topic, "-q", String(options.qos ?? 1)],
    ...["-V", options.version === 4 ? "311" : "5"],
    ...(options.clientId ? ["-i", options.clientId] : []),
    ...(username ? ["-u", decodeURIComponent(username), "-P", decodeURIComponent(password)] : []),
    ...(options.args ?? []),
  ];
}
