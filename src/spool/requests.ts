/**
 * What commands ask of a gateway that holds the spool: rows of the table `request`, written by the command's own
 * connection, done and answered by the gateway. Here are both ends, and where a replayed letter goes.
 *
 * A request does not outlive the gateway that was to do it: what is left over is deleted when the spool is opened.
 */
import { DatabaseSync } from "node:sqlite";
import { type Clock, sleep, systemClock } from "../clock.ts";
import { SluiceError } from "../errors.ts";
import type { Address } from "../message.ts";
import type { SpoolFile } from "./file.ts";

/** What shall become of dead letters. */
export interface LetterOrder {
  readonly op: "replay" | "drop";
  readonly ids: readonly number[];
  /** Replay: to this table, whatever route and table they were meant for. */
  readonly to?: string;
}

export interface LetterAnswer {
  /** Letters that are no letters any more. */
  readonly done: number;
  /** Letters that stayed, and why. */
  readonly kept: readonly { readonly id: number; readonly reason: string }[];
}

export interface AskedRequest {
  readonly id: number;
  readonly order: LetterOrder;
}

/** A letter without its message. */
export interface LetterHead {
  readonly id: number;
  readonly lane: string;
  readonly sequence: number;
  readonly route: string;
  readonly topic: string;
  readonly counted: number;
}

/** The gateway's end, in the spool's thread. */
export class Requests {
  readonly #file: SpoolFile;
  #version = -1;

  constructor(file: SpoolFile) {
    this.#file = file;
    if (file.get("SELECT 1 FROM request LIMIT 1")) file.run("DELETE FROM request");
  }

  /** The oldest that has no answer. Costs nothing as long as nobody else has written to the file. */
  next(): AskedRequest | null {
    const { data_version: version } = this.#file.get<{ data_version: number }>("PRAGMA data_version")!;
    if (version === this.#version) return null;
    const row = this.#file.get<{ id: number; ask: string }>(
      "SELECT id, ask FROM request WHERE answer IS NULL ORDER BY id LIMIT 1",
    );
    if (row) return { id: row.id, order: JSON.parse(row.ask) };
    this.#version = version;
    return null;
  }

  answer(id: number, answer: LetterAnswer | { readonly error: string }): void {
    this.#file.begin();
    this.#file.run("UPDATE request SET answer = ? WHERE id = ?", JSON.stringify(answer), id);
    this.#file.commit();
  }
}

/** Letters that are still there, and from which sequence on each route has taken deliveries. */
export function lookUp(file: SpoolFile, ids: readonly number[]) {
  const letters = ids.flatMap((id) =>
    file.get<LetterHead>(
      "SELECT id, lane, sequence, route, topic, counted FROM dead WHERE id = ? AND gone = 0",
      id,
    ) ?? []
  );
  const routes = file.all<{ name: string; first: number }>("SELECT name, first FROM route");
  return { letters, routes: new Map(routes.map((it) => [it.name, it.first])) };
}

/**
 * Where a letter goes now, or why it stays. Never to a route that took the message when it came: that one has made its
 * row. So to its own route, or else to a route to the same table that is younger than the message, or where `to` says.
 */
export function redirect(
  letter: LetterHead,
  addresses: readonly Address[],
  routes: ReadonlyMap<string, number>,
  to?: string,
): Address | string {
  if (addresses.length === 0) return `no route takes its topic ${letter.topic}`;
  const target = to !== undefined
    ? addresses.find((it) => it.lane === to)
    : addresses.find((it) => it.route === letter.route) ??
      addresses.find((it) => it.lane === letter.lane && (routes.get(it.route) ?? Infinity) > letter.sequence);
  if (target) return target;
  const tables = [...new Set(addresses.map((it) => it.lane))].join(", ");
  return to !== undefined
    ? `no route takes its topic ${letter.topic} to ${to}, only to ${tables}`
    : `its route "${letter.route}" is gone, and others that take its topic may have stored it: --to TABLE (${tables}) sends it there all the same`;
}

/** Whether a gateway, or a command that stands in for one, holds the spool. */
export function isInUse(path: string): boolean {
  try {
    using file = Deno.openSync(`${path}.lock`);
    return !file.tryLockSync(false);
  } catch {
    return false;
  }
}

const POLL_EVERY_MS = 50;
const ANSWER_MS_MAX = 10_000;

/** The command's end: asks the gateway that holds the spool, and waits for its answer. */
export async function askGateway(
  path: string,
  order: LetterOrder,
  { signal, clock = systemClock }: { signal?: AbortSignal; clock?: Clock } = {},
): Promise<LetterAnswer> {
  using db = new DatabaseSync(path);
  db.exec("PRAGMA busy_timeout = 5000; PRAGMA wal_autocheckpoint = 0");
  const { lastInsertRowid: id } = db.prepare("INSERT INTO request (ask) VALUES (?)").run(
    JSON.stringify(order),
  );
  const look = db.prepare("SELECT answer FROM request WHERE id = ?");
  const deadline = clock.now() + ANSWER_MS_MAX;
  try {
    while (clock.now() < deadline) {
      const row = look.get(id) as { answer: string | null } | undefined;
      if (!row) {
        throw new SluiceError("the gateway was started anew before it answered", {
          hint: "`sluice dead list` shows what it has done; ask again for the rest",
        });
      }
      if (row.answer !== null) {
        const answer = JSON.parse(row.answer);
        if ("error" in answer) throw new SluiceError(`the gateway could not ${order.op}: ${answer.error}`);
        return answer;
      }
      await sleep(POLL_EVERY_MS, signal, clock);
    }
  } finally {
    try {
      db.prepare("DELETE FROM request WHERE id = ?").run(id);
    } catch {
      // The gateway deletes what is left over when it opens the spool the next time.
    }
  }
  throw new SluiceError(
    `the spool ${path} is in use, but the gateway that uses it did not answer within ${
      ANSWER_MS_MAX / 1_000
    } s`,
    { hint: "try again, or stop the gateway first: the command then does it by itself" },
  );
}
