/**
 * The spool as commands read it: beside a gateway that runs, or without one. Never writes, and takes no lock.
 *
 * It reads in short steps, so that a reader whose output waits does not keep the gateway from shortening its log, and
 * in constant memory. What changes between two steps is seen as it is then.
 */
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { messageOf, SluiceError } from "../errors.ts";
import type { DeadLetter, Delivery } from "../message.ts";
import { sizeOf } from "./disk.ts";
import { VERSION } from "./file.ts";
import { checksum, decodeFrame, unpack } from "./frame.ts";
import { type Position, positionsIn } from "./journal.ts";
import { type Frame, noCounts, TOTAL_NAMES, type TotalCounts } from "./stored.ts";

/** Letters that are read in one step. */
const PAGE = 16;

export interface Letter extends DeadLetter {
  readonly id: number;
}

export interface WaitingMessage extends Delivery {
  readonly lane: string;
}

export interface LanePicture {
  readonly name: string;
  readonly waiting: number;
  readonly oldestReceivedAtMs: number | null;
}

export interface SpoolPicture {
  readonly identity: string;
  /** In use inside the file. */
  readonly bytes: number;
  /** The log beside the file that SQLite has not yet taken over into it. */
  readonly walBytes: number;
  readonly totals: TotalCounts;
  readonly lanes: readonly LanePicture[];
  readonly deadLetters: number;
  /** Dropped because there were too many. */
  readonly lettersDropped: number;
}

/** See `SCHEMA` in `file.ts`. */
interface LaneRow {
  readonly id: number;
  readonly name: string;
  readonly settled: number;
  readonly counted: number;
  readonly waiting: number;
}

export class SpoolReader implements Disposable {
  readonly #path: string;
  readonly #db: DatabaseSync;

  /** Throws where there is no spool, or it cannot be read. */
  constructor(path: string) {
    this.#path = path;
    try {
      Deno.statSync(path);
    } catch (error) {
      const reason = error instanceof Deno.errors.NotFound ? "" : `: ${messageOf(error)}`;
      throw new SluiceError(`there is no spool at ${path}${reason}`, {
        hint: "the gateway makes it when it starts; is this its configuration?",
      });
    }
    try {
      this.#db = new DatabaseSync(path, { readOnly: true });
    } catch (error) {
      throw this.#unreadable(error);
    }
    const { user_version } = this.#get<{ user_version: number }>("PRAGMA user_version")!;
    if (user_version !== VERSION) {
      this.#db.close();
      throw this.#unreadable(new Error(`it has version ${user_version}, this program reads ${VERSION}`));
    }
  }

  /** Dead letters, oldest first. */
  *letters(): Generator<Letter> {
    for (let after = 0;;) {
      const page = this.#letters("id > ? ORDER BY id LIMIT ?", after, PAGE);
      yield* page;
      if (page.length < PAGE) return;
      after = page.at(-1)!.id;
    }
  }

  letter(id: number): Letter | undefined {
    return this.#letters("id = ?", id)[0];
  }

  #letters(where: string, ...values: SQLInputValue[]): Letter[] {
    return this.#all<Omit<Letter, "retain"> & { retain: number }>(
      `SELECT id, lane, sequence, route, received_at AS receivedAtMs, topic, payload, qos, retain, reason, errno
       FROM dead WHERE gone = 0 AND ${where}`,
      ...values,
    ).map((it) => ({ ...it, retain: it.retain === 1 }));
  }

  /** Messages that wait, lane by lane, oldest first. `onDamage` is told of those that cannot be read. */
  *waiting(table: string | undefined, onDamage: (sentence: string) => void): Generator<WaitingMessage> {
    const routes = new Map<number, string>();
    for (const lane of this.#lanes()) {
      if (table !== undefined && lane.name !== table) continue;
      for (const frame of this.#frames(lane)) {
        const last = frame.first + frame.count - 1;
        if (checksum(frame) !== frame.crc) {
          onDamage(`messages ${frame.first} to ${last} of ${lane.name} are damaged`);
          continue;
        }
        const dead = this.#all<{ sequence: number }>(
          "SELECT sequence FROM dead WHERE lane = ? AND sequence >= ? AND sequence <= ?",
          lane.name,
          frame.first,
          last,
        );
        const done = new Set(dead.map((it) => it.sequence));
        for (const it of decodeFrame(unpack(frame), frame.first, (route) => this.#route(routes, route))) {
          if (it.sequence > lane.settled && !done.has(it.sequence)) yield { ...it, lane: lane.name };
        }
      }
    }
  }

  #route(known: Map<number, string>, id: number): string {
    if (!known.has(id)) {
      for (const it of this.#all<{ id: number; name: string }>("SELECT id, name FROM route")) {
        known.set(it.id, it.name);
      }
    }
    return known.get(id) ?? `route number ${id}`;
  }

  /** In one look: between two of them the journal may be summed up. */
  #lanes(): LaneRow[] {
    return this.#try(() => {
      this.#db.exec("BEGIN");
      try {
        const rows = this.#all<LaneRow>("SELECT * FROM lane ORDER BY name");
        const positions = positionsIn({ all: (sql) => this.#all(sql) });
        return rows.map((row) => ({ ...row, ...placeOf(positions.get(row.id)) }));
      } finally {
        this.#db.exec("COMMIT");
      }
    });
  }

  #totals(): TotalCounts {
    const names = TOTAL_NAMES.map((name) => `"${name}"`).join(", ");
    return this.#get<TotalCounts>(`SELECT ${names} FROM journal ORDER BY id DESC LIMIT 1`) ?? noCounts();
  }

  *#frames({ id, settled }: LaneRow): Generator<Frame> {
    // A frame that is settled in part begins at or before `settled`.
    let frame = this.#get<Frame>(
      `SELECT * FROM queue_${id} WHERE first <= ? ORDER BY first DESC LIMIT 1`,
      settled,
    );
    let after = settled;
    if (frame && frame.first + frame.count - 1 > settled) yield frame;
    while (true) {
      frame = this.#get<Frame>(
        `SELECT * FROM queue_${id} WHERE first > ? ORDER BY first LIMIT 1`,
        after,
      );
      if (!frame) return;
      after = frame.first;
      yield frame;
    }
  }

  picture(): SpoolPicture {
    const meta = new Map(
      this.#all<{ key: string; value: string | number }>("SELECT key, value FROM meta").map((
        it,
      ) => [it.key, it.value]),
    );
    const pragma = (name: string) => this.#get<Record<string, number>>(`PRAGMA ${name}`)![name];
    return {
      identity: String(meta.get("identity")),
      bytes: (pragma("page_count") - pragma("freelist_count")) * pragma("page_size"),
      walBytes: sizeOf(`${this.#path}-wal`),
      totals: this.#totals(),
      lanes: this.#lanes().map((lane) => this.#lanePicture(lane)),
      deadLetters: this.#get<{ n: number }>("SELECT count(*) AS n FROM dead WHERE gone = 0")!.n,
      lettersDropped: Number(meta.get("letters_dropped") ?? 0),
    };
  }

  #lanePicture({ id, name, settled, counted, waiting: known }: LaneRow): LanePicture {
    const { n } = this.#get<{ n: number | null }>(
      `SELECT sum(count) AS n FROM queue_${id} WHERE first > ?`,
      counted,
    )!;
    const { dead } = this.#get<{ dead: number }>(
      "SELECT count(*) AS dead FROM dead WHERE lane = ? AND sequence > ? AND gone = 0",
      name,
      settled,
    )!;
    const waiting = known + (n ?? 0) - dead;
    const oldest = waiting > 0 ? this.waiting(name, () => {}).next().value : undefined;
    return { name, waiting, oldestReceivedAtMs: oldest?.receivedAtMs ?? null };
  }

  #get<T>(sql: string, ...values: SQLInputValue[]): T | undefined {
    return this.#try(() => this.#db.prepare(sql).get(...values) as T | undefined);
  }

  #all<T>(sql: string, ...values: SQLInputValue[]): T[] {
    return this.#try(() => this.#db.prepare(sql).all(...values) as T[]);
  }

  #try<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw this.#unreadable(error);
    }
  }

  #unreadable(cause: unknown): SluiceError {
    return new SluiceError(`the spool ${this.#path} cannot be read: ${messageOf(cause)}`, {
      cause,
      hint: "may this user read it? Try it as the user that the gateway runs as",
    });
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}

function placeOf(position: Position | undefined): Partial<LaneRow> {
  if (!position) return {};
  const [, settled, , , counted, waiting] = position;
  return { settled, counted, waiting };
}
