/**
 * Takes the bad rows out of a batch and leaves their neighbours in. The culprit is the row that the server's message
 * names (`at row N` counts the rows of one statement), or is found by halving the statement that failed. A refused row
 * takes all rows of its delivery with it.
 *
 * Runs inside the caller's transaction. A delivery is refused only if it failed alone; order is kept, so that the last
 * of several rows for one key is the one that stays. A statement that fails leaves nothing behind in a transactional
 * table; into others rows go one by one.
 *
 * **Whose fault is it?** A row that is refused while others get in is bad. Where nothing gets in, it may as well be the
 * table, changed under the gateway (a new CHECK, a column that is NOT NULL now), and then no row must become a dead
 * letter for it. So of the deliveries that are refused while nothing gets in, only as many are given up as `tolerance`
 * says; for more there must be a witness, any other row that would get in. Without one the table is to blame: `NothingTakenError`. A number that `classify` does not know is a row's fault only before such a witness.
 */
import { systemClock } from "../clock.ts";
import type { Refused } from "../contracts.ts";
import type { Row } from "../message.ts";
import { AlterationError, assertUnaltered } from "./alteration.ts";
import { classify, errnoOf } from "./classify.ts";
import type { MysqlConnection } from "./connect.ts";
import { insertStatement, statementLength } from "./insert.ts";

export interface SurgeryOptions {
  /** How many deliveries may be refused although nothing gets in. */
  readonly tolerance: number;
  /** The table has no transactions. */
  readonly singly: boolean;
  /** Each statement is to be taken back by itself: one of them alters what it stores. */
  readonly careful: boolean;
  /** Rows that are not to be inserted, but may be asked. */
  readonly witnesses?: readonly Row[];
  /** A number in [0, 1). @default Math.random */
  readonly random?: () => number;
}

/** Nothing gets in: the table, not its rows, is at fault. Carries the number and the text of the last refusal. */
export class NothingTakenError extends Error {
  readonly errno: number;
  constructor({ errno, reason }: Refused) {
    super(`nothing is taken any more: ${reason}`);
    this.errno = errno;
  }
}

/** How many rows are asked, at random and the last one, before the table is blamed. */
const WITNESSES_MAX = 64;
const WITNESSES_MS_MAX = 2_000;

type Failure = Error & { readonly errno: number };

/** A delivery that failed alone. `done`: how many rows at the beginning of the statement are in. */
interface Culprit {
  readonly sequence: number;
  readonly failure: Failure;
  readonly done: number;
}

/** Rows of one delivery, by their places in a statement. */
interface Part {
  readonly from: number;
  readonly to: number;
}

export class Surgery {
  readonly refused = new Map<number, Refused>();
  /** Something got in, or would have. */
  taken = false;
  readonly #connection: MysqlConnection;
  readonly #options: SurgeryOptions;
  /** False as soon as a message named the wrong row: it may come from a trigger's own statement. */
  #trustsNumbers = true;

  constructor(connection: MysqlConnection, options: SurgeryOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** Inserts rows, those of one shape together; throws for every error that is no row's fault. */
  async insert(rows: readonly Row[]): Promise<void> {
    for (let at = 0; at < rows.length;) {
      let end = at + 1;
      while (end < rows.length && rows[end].shape === rows[at].shape) end++;
      await this.#insertAlike(rows.slice(at, end), rows.slice(end));
      at = end;
    }
  }

  async #insertAlike(rows: readonly Row[], others: readonly Row[]): Promise<void> {
    let rest = rows;
    while (rest.length > 0) {
      const length = this.#options.singly ? 1 : statementLength(this.#connection, rest);
      const statement = rest.slice(0, length);
      const failure = await this.#try(statement);
      if (failure === undefined) {
        rest = rest.slice(length);
        continue;
      }
      const culprit = await this.#named(statement, failure) ?? await this.#searched(statement, failure);
      if (typeof culprit === "number") {
        // Alone it got in.
        rest = rest.slice(culprit);
        continue;
      }
      rest = rest.slice(culprit.done).filter((row) => row.sequence !== culprit.sequence);
      const witness = await this.#refuse(culprit, [...rest, ...others]);
      if (this.#options.singly) rest = rest.filter((row) => row !== witness);
    }
  }

  /** The delivery that the message names, if it fails alone. */
  async #named(statement: readonly Row[], failure: Failure): Promise<Culprit | undefined> {
    const number = Number(/\bat row (\d+)\s*$/.exec(failure.message)?.[1]);
    const row = this.#trustsNumbers && statement[number - 1];
    if (!row || partsOf(statement).length === 1) return undefined;
    const { sequence } = row;
    const alone = await this.#tryAlone(statement.filter((it) => it.sequence === sequence));
    this.#trustsNumbers = alone !== undefined;
    return alone && { sequence, failure: alone, done: 0 };
  }

  /**
   * The first delivery that fails, by halving a statement that failed as a whole; what lies before it is in then. Or, if
   * it is taken when it is alone, how many rows are in.
   */
  async #searched(statement: readonly Row[], failure: Failure): Promise<Culprit | number> {
    const parts = partsOf(statement);
    // The parts before `low` are in; those from `low` to `high` failed together.
    let low = 0, high = parts.length, last = failure;
    const rowsOf = (from: number, to: number) => statement.slice(parts[from].from, parts[to - 1].to);
    let alone = high === 1;
    while (!alone) {
      const middle = high - low === 1 ? high : low + (high - low >> 1);
      const error = await this.#try(rowsOf(low, middle));
      if (error) [high, last] = [middle, error];
      else low = middle;
      if (low === high) return parts[low - 1].to;
      alone = error !== undefined && high - low === 1;
    }
    return { sequence: statement[parts[low].from].sequence, failure: last, done: parts[low].from };
  }

  /** One statement. Undefined: the rows are in. Throws what is no row's fault. */
  async #try(rows: readonly Row[]): Promise<Failure | undefined> {
    const connection = this.#connection;
    const { careful } = this.#options;
    if (careful) await connection.query("SAVEPOINT before_rows");
    try {
      const warnings = await insertStatement(connection, rows);
      await assertUnaltered(connection, rows, warnings);
      this.taken = true;
      return undefined;
    } catch (error) {
      const altered = error instanceof AlterationError;
      if (altered && !careful) throw error;
      const kind = classify(error, connection.flavour);
      const isFailure = kind === "row" || kind === "unknown" && errnoOf(error) !== null;
      if (!isFailure) throw error;
      if (altered) await connection.query("ROLLBACK TO SAVEPOINT before_rows");
      return error as Failure;
    }
  }

  /** As `#try`, but nothing stays: it is not these rows' turn. */
  async #tryAlone(rows: readonly Row[]): Promise<Failure | undefined> {
    await this.#connection.query("SAVEPOINT before_one");
    const failure = await this.#try(rows);
    if (failure === undefined) await this.#connection.query("ROLLBACK TO SAVEPOINT before_one");
    return failure;
  }

  /** Throws where it may be the table's fault; returns the row that bears witness that it is not, if one had to be asked. */
  async #refuse({ sequence, failure }: Culprit, others: readonly Row[]): Promise<Row | undefined> {
    const { errno, message } = failure;
    this.refused.set(sequence, { sequence, errno, reason: message });
    const isKnown = classify(failure, this.#connection.flavour) === "row";
    if (this.taken || isKnown && this.refused.size <= this.#options.tolerance) return undefined;
    const { singly, witnesses = [] } = this.#options;
    const witness = await this.#witness(others);
    // Into a table without transactions one would get in for good.
    if (witness || !singly && await this.#witness(witnesses)) return witness;
    if (isKnown) throw new NothingTakenError({ sequence, errno, reason: message });
    throw failure;
  }

  async #witness(rows: readonly Row[]): Promise<Row | undefined> {
    const { random = Math.random } = this.#options;
    const candidates = [...rows];
    const untilMs = systemClock.now() + WITNESSES_MS_MAX;
    for (let asked = 0; candidates.length > 0 && asked < WITNESSES_MAX; asked++) {
      if (systemClock.now() > untilMs) break;
      const i = asked === 0 ? candidates.length - 1 : Math.floor(random() * candidates.length);
      const [row] = candidates.splice(i, 1);
      if (await this.#tryAlone([row]) === undefined) return row;
    }
    return undefined;
  }
}

/** Deliveries in a statement: rows of one sequence lie together. */
function partsOf(statement: readonly Row[]): Part[] {
  const parts: Part[] = [];
  for (let from = 0; from < statement.length;) {
    let to = from + 1;
    while (to < statement.length && statement[to].sequence === statement[from].sequence) to++;
    parts.push({ from, to });
    from = to;
  }
  return parts;
}
