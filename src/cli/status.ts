/**
 * `sluice status`: asks the running gateway, over HTTP or its unix socket.
 */
import { loadConfig } from "../config/load.ts";
import { messageOf, UnreachableError } from "../errors.ts";
import { listenOf } from "../gateway/service.ts";
import type { StatusSnapshot } from "../status/snapshot.ts";
import { formatDuration, formatSize } from "../units.ts";
import { type Command, CONFIG_OPTION, JSON_OPTION } from "./command.ts";
import { sums } from "./demo.ts";

export const status: Command = {
  name: "status",
  usage: "[-c FILE]",
  summary: "asks the running gateway",
  options: { config: CONFIG_OPTION, json: JSON_OPTION },
  notes: [
    "Without -c it asks at 127.0.0.1:8088. Exit codes: 0 it answers; 69 no gateway answers.",
    "--json: what http://127.0.0.1:8088/status.json says.",
  ],
  async run({ values }, io) {
    const section = typeof values.config === "string"
      ? (await loadConfig(values.config)).config.status
      : { listen: "127.0.0.1:8088", token: undefined };
    if (section === false) {
      throw new UnreachableError('the gateway has no status page: "status" is false in its configuration');
    }
    const text = await ask(section.listen, await section.token?.read());
    io.out(values.json ? text.trimEnd() : summary(JSON.parse(text), values.config as string | undefined));
    return 0;
  },
};

async function ask(listen: string, token: string | undefined): Promise<string> {
  const where = listenOf(listen);
  const client = "path" in where
    ? Deno.createHttpClient({ proxy: { transport: "unix", path: where.path } })
    : undefined;
  try {
    const response = await fetch(
      "path" in where ? "http://localhost/status.json" : `http://${listen}/status.json`,
      {
        client,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      } as RequestInit,
    );
    const text = await response.text();
    if (!response.ok) throw new Error(`it answers ${response.status}: ${text.trim()}`);
    return text;
  } catch (cause) {
    throw new UnreachableError(`no gateway answers at ${listen}: ${whyNot(cause)}`, {
      cause,
      hint: "is it running? `systemctl status sluice`, and what it says: `journalctl -u sluice -n 50`",
    });
  } finally {
    client?.close();
  }
}

/** fetch says "fetch failed", and why only in its cause. */
function whyNot(error: unknown): string {
  const inner = (error as Error)?.cause ?? error;
  const text = messageOf(inner);
  return /refused/i.test(text)
    ? "nothing listens there"
    : /no such file|ENOENT/i.test(text)
    ? "there is no such socket"
    : text;
}

function summary(it: StatusSnapshot, file: string | undefined): string {
  const lanes = Object.entries(it.lanes).map(([name, lane]) =>
    `  ${name}: ${lane.state}, ${lane.pending} waiting${lane.reason ? `, ${lane.reason}` : ""}`
  );
  const stalled = Object.values(it.lanes).some(({ state }) => state === "stalled");
  return [
    `${it.name}: ${it.state}, up ${formatDuration(it.uptime_s * 1_000)}, sluice ${it.version}`,
    ...(it.sentence ? [`wrong: ${it.sentence}`] : []),
    `broker ${it.broker.connected ? "connected" : `away (${it.broker.error ?? "not yet tried"})`}, database ${
      it.database.reachable ? "reachable" : "away"
    }`,
    ...sums(it.totals),
    ...(it.pool
      ? [
        `pool: ${it.pool.idle} idle, ${it.pool.leased} leased, ${it.pool.waiting} waiting of ${it.pool.size}`,
      ]
      : []),
    `spool: ${it.spool.entries} waiting, ${formatSize(it.spool.bytes)} of ${formatSize(it.spool.max_bytes)}`,
    ...(lanes.length > 0 ? ["tables:", ...lanes] : []),
    ...(stalled ? [`\`sluice check -c ${file ?? "FILE"}\` says what to change`] : []),
  ].join("\n");
}
