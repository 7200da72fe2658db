/**
 * Errors, named by what the caller does next. Each says what was attempted, what was met and what to do, and
 * carries its `cause`. They are logged once, at the edge of a loop or of the program.
 */

/** An error whose message is meant for the user as it stands; `hint` says what to do next. */
export class SluiceError extends Error {
  readonly hint: string | undefined;
  constructor(message: string, options: ErrorOptions & { hint?: string } = {}) {
    super(message, options);
    this.name = new.target.name;
    this.hint = options.hint;
  }
}

/** Wrong usage of the command line. Exit code 2. */
export class UsageError extends SluiceError {}

/** The configuration is wrong. Exit code 78 (EX_CONFIG): a restart would not help. */
export class ConfigurationError extends SluiceError {}

/** A service is out of reach. Exit code 69 (EX_UNAVAILABLE) from `check`; everywhere else: back off. */
export class UnreachableError extends SluiceError {}

/** The whole service is away, busy or read-only: wait and try again; nothing was stored, or the ledger will tell. */
export class BackOffError extends SluiceError {
  readonly errno: number | null;
  /** "auth" waits at least 30 s: hammering a log-in locks accounts (MySQL 1129, 3955). */
  readonly reason: "lost" | "busy" | "readOnly" | "full" | "auth" | "unknown";
  constructor(
    message: string,
    options: ErrorOptions & { hint?: string; errno?: number | null; reason?: BackOffError["reason"] } = {},
  ) {
    super(message, options);
    this.errno = options.errno ?? null;
    this.reason = options.reason ?? "unknown";
  }
}

/** One lane cannot go on: its table is locked, missing, changed or forbidden. Probe again later; never a dead letter. */
export class StallError extends SluiceError {
  readonly errno: number | null;
  readonly lane: string;
  /** It refuses each row that it was given; one that it took would show that the others are bad for their own sake. */
  readonly refusesAll: boolean;
  constructor(
    message: string,
    options: ErrorOptions & { hint?: string; errno?: number | null; lane: string; refusesAll?: boolean },
  ) {
    super(message, options);
    this.errno = options.errno ?? null;
    this.lane = options.lane;
    this.refusesAll = options.refusesAll ?? false;
  }
}

/** The ledger row does not stand where the spool expects it. */
export class LedgerError extends SluiceError {
  readonly kind: "behind" | "ahead" | "missing";
  /** What the ledger says; 0 where the row is missing. */
  readonly upto: number;
  /** True where the ledger's row is missing and what was committed is there all the same. */
  readonly held: boolean;
  constructor(
    message: string,
    options: ErrorOptions & { hint?: string; kind: LedgerError["kind"]; upto: number; held?: boolean },
  ) {
    super(message, options);
    this.kind = options.kind;
    this.upto = options.upto;
    this.held = options.held ?? false;
  }
}

/** The process cannot keep its promise any more (the spool's disk fails): end it, exit code 1, and let systemd start it anew. */
export class GiveUpError extends SluiceError {}

/** The message of anything that was thrown, on one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof AggregateError && error.errors.length > 0 && !error.message
    ? error.errors.map(messageOf).join("; ")
    : error instanceof Error
    ? error.message || error.name
    : String(error);
  return text.replace(/\s*\n\s*/g, " ");
}
