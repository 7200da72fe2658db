/**
 * The configuration's schema: every key with what it means, from which types, checks and `sluice.schema.json` are made.
 *
 * Input is what a person writes; output has durations in milliseconds, sizes in bytes, secrets as `Secret`s and all
 * defaults filled in. Places in the file and wording of errors are `load.ts`'s business.
 */
import * as v from "valibot";
import { parseColumnType } from "../column_type.ts";
import { serverAddress } from "../mysql/address.ts";
import { DECODERS, LAYOUTS, PRESETS, type RouteOptions, TIME_KINDS } from "../route/options.ts";
import { parseDuration, parseSize } from "../units.ts";
import { Secret } from "./secret.ts";

const doc = <T>(description: string) => v.description<T, string>(description);

/** Runs a parser that throws, and makes its message an issue. */
function parsed<T>(parse: (text: string) => T) {
  return v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
    try {
      return parse(dataset.value);
    } catch (error) {
      addIssue({ message: (error as Error).message });
      return NEVER;
    }
  });
}

const text = () => v.pipe(v.string(), v.nonEmpty("must not be empty"));
const duration = () => v.pipe(v.string(), parsed(parseDuration));
const size = () => v.pipe(v.string(), parsed(parseSize));
const orNever = () => v.pipe(v.string(), parsed((it) => it.trim() === "never" ? null : parseDuration(it)));

const secret = () =>
  v.pipe(
    v.union([
      v.string(),
      v.strictObject({ env: text() }),
      v.strictObject({ file: text() }),
      v.strictObject({ credential: text() }),
    ]),
    doc('A secret: the text itself, { "env": "NAME" }, { "file": "/path" } or { "credential": "name" }'),
    v.transform((source) => new Secret(source)),
  );

const tls = () =>
  v.strictObject({
    ca: v.optional(v.pipe(text(), doc("File with the certificates of the authority to trust (PEM)"))),
    cert: v.optional(v.pipe(text(), doc("File with the client's certificate (PEM)"))),
    key: v.optional(v.pipe(text(), doc("File with the key of the client's certificate (PEM)"))),
    verify: v.optional(v.pipe(v.boolean(), doc("Check the server's certificate and host name")), true),
  });

const broker = v.strictObject({
  url: v.pipe(text(), doc("mqtt://, mqtts://, ws:// or wss:// with host and port")),
  clientId: v.optional(
    v.pipe(
      text(),
      v.maxLength(65_535),
      doc("Default: sluice-<name>. Must stay the same: the session hangs on it"),
    ),
  ),
  username: v.optional(text()),
  password: v.optional(secret()),
  version: v.optional(v.pipe(v.picklist([4, 5]), doc("5, or 4 which is MQTT 3.1.1")), 5),
  sessionExpiry: v.optional(
    v.pipe(duration(), doc("How long the broker keeps messages while the gateway is away")),
    "7d",
  ),
  keepalive: v.optional(v.pipe(duration(), doc("How often a silent connection is checked")), "30s"),
  tls: v.optional(tls()),
});

const count = () =>
  v.pipe(v.number(), v.integer("must be a whole number"), v.minValue(0, "must not be negative"));

const pool = v.strictObject({
  kind: v.optional(
    v.pipe(v.picklist(["queue", "null"]), doc("queue, or null: a new connection for each use")),
    "queue",
  ),
  size: v.optional(
    v.pipe(count(), v.minValue(1, "must be at least 1"), doc("Connections that are kept open")),
    5,
  ),
  maxOverflow: v.optional(v.pipe(count(), doc("Connections beyond size in a rush")), 10),
  timeout: v.optional(v.pipe(duration(), doc("How long to wait for a connection")), "30s"),
  recycle: v.optional(v.pipe(orNever(), doc('Age at which a connection is replaced; "never"')), "1h"),
  prePing: v.optional(v.pipe(v.boolean(), doc("Ping a connection before it is used")), true),
  pingTimeout: v.optional(v.pipe(duration(), doc("How long a ping may take")), "1s"),
  order: v.optional(v.pipe(v.picklist(["fifo", "lifo"]), doc("Which idle connection is used next")), "fifo"),
});

const database = v.strictObject({
  url: v.pipe(text(), doc("mysql://user@host:3306/database, or sqlite:file.db")),
  password: v.optional(secret()),
  tls: v.optional(tls()),
  hosts: v.optional(
    v.pipe(
      v.array(v.pipe(text(), parsed(serverAddress))),
      doc("host:port of further servers, tried in order on failover"),
    ),
  ),
  pool: v.optional(pool, {}),
  createTables: v.optional(v.pipe(v.boolean(), doc("Make tables that are missing")), true),
  addColumns: v.optional(v.pipe(v.boolean(), doc("Add columns that are missing")), false),
});

const spool = v.strictObject({
  path: v.optional(v.pipe(text(), doc("The file in which messages wait")), "spool.db"),
  maxSize: v.optional(v.pipe(size(), doc("How large it may become")), "1GiB"),
  onFull: v.optional(
    v.pipe(
      v.picklist(["block", "dropOldest"]),
      doc("block: stop acknowledging; dropOldest: lose the oldest"),
    ),
    "block",
  ),
  linger: v.optional(
    v.pipe(duration(), doc("How long a message may wait for company before its fsync")),
    "10ms",
  ),
});

const columnType = () => v.pipe(v.string(), parsed((it) => (parseColumnType(it), it)));

const column = v.union([
  text(),
  v.strictObject({
    value: v.pipe(text(), doc("@name, {level}, $.path or = expression")),
    type: v.optional(v.pipe(columnType(), doc("SQL type, e.g. double, varchar(40), datetime(3)"))),
    onError: v.optional(
      v.pipe(v.picklist(["reject", "null", "truncate"]), doc("What to do with a value that does not fit")),
    ),
    unit: v.optional(v.pipe(text(), doc("Unit, for the comment of a table that is made"))),
    time: v.optional(v.pipe(v.picklist(TIME_KINDS), doc("How the payload writes the time"))),
    zone: v.optional(v.pipe(text(), doc('Time zone for "time": "local", e.g. Europe/Berlin'))),
  }),
]);

const keep = v.pipe(
  v.strictObject({
    onChange: v.optional(v.pipe(v.array(text()), doc("Columns: store when one of them has changed"))),
    deadband: v.optional(
      v.pipe(
        v.record(text(), v.pipe(v.number(), v.minValue(0))),
        doc("Column to the smallest difference that counts"),
      ),
    ),
    minInterval: v.optional(v.pipe(duration(), doc("Store at most one in this time"))),
    maxInterval: v.optional(v.pipe(duration(), doc("Store one at least this often, changed or not"))),
    by: v.optional(
      v.pipe(
        v.array(text()),
        doc("Columns that tell the rows apart which are compared; default: the topic and the key under each"),
      ),
    ),
  }),
  v.transform(({ minInterval, maxInterval, ...rest }) => ({
    ...rest,
    ...(minInterval === undefined ? {} : { minIntervalMs: minInterval }),
    ...(maxInterval === undefined ? {} : { maxIntervalMs: maxInterval }),
  })),
);

const route = v.pipe(
  v.strictObject({
    topic: v.optional(v.pipe(text(), doc("{name}: one level; {name...}: the rest; + and # work too"))),
    preset: v.optional(v.pipe(v.picklist(PRESETS), doc("A device family"))),
    table: v.optional(v.pipe(text(), doc("Target table; may use {name}"))),
    decode: v.optional(v.pipe(v.picklist(DECODERS), doc("How the payload is read"))),
    columns: v.optional(v.pipe(v.record(text(), column), doc("Column to value"))),
    each: v.optional(v.pipe(text(), doc("Path of an array or object: one row for each element"))),
    when: v.optional(v.pipe(text(), doc("Expression: store only when it is true"))),
    keep: v.optional(keep),
    retained: v.optional(v.pipe(v.picklist(["store", "skip"]), doc("What to do with retained messages"))),
    onDuplicateKey: v.optional(v.picklist(["error", "ignore", "update"])),
    key: v.optional(
      v.pipe(
        v.array(text()),
        v.minLength(1, "must not be empty"),
        doc("Columns of the primary key of a table that is made; default: an id of its own"),
      ),
    ),
    layout: v.optional(
      v.pipe(
        v.picklist(LAYOUTS),
        doc("wide: a column each; narrow: a row each; json; latest: one row for a topic"),
      ),
    ),
    retention: v.optional(
      v.pipe(
        duration(),
        v.minValue(1_000, "must be at least a second"),
        doc("Rows that arrived longer ago than this are removed"),
      ),
    ),
    hourly: v.optional(
      v.pipe(
        v.union([
          v.boolean(),
          v.strictObject({
            by: v.pipe(v.array(text()), doc("Columns that tell series apart; may be empty")),
          }),
        ]),
        doc(
          "Keep minimum, mean, maximum and count of every number, by hour and series, in a table <table>_hourly; " +
            "default series: device and name of a preset, otherwise what tells topics apart",
        ),
      ),
    ),
  }),
  v.transform(({ retention, ...rest }): RouteOptions => ({
    ...rest,
    ...(retention === undefined ? {} : { retentionMs: retention }),
  })),
);

/** Addresses that only this machine can reach. */
const LOCAL = /^(unix:|localhost:|127\.|\[::1\]:)/;

const status = v.union([
  v.literal(false),
  v.pipe(
    v.strictObject({
      listen: v.optional(v.pipe(text(), doc("host:port, or unix:/path")), "127.0.0.1:8088"),
      token: v.optional(
        v.pipe(secret(), doc("Asked of every visitor; needed where others can reach the page")),
      ),
    }),
    v.forward(
      v.partialCheck(
        [["listen"], ["token"]],
        ({ listen, token }) => token !== undefined || LOCAL.test(listen),
        'others can reach this address, so it wants a token: add "token": { "file": "/path" }',
      ),
      ["listen"],
    ),
  ),
]);

const log = v.strictObject({
  level: v.optional(v.picklist(["debug", "info", "warning", "error"]), "info"),
  format: v.optional(v.picklist(["auto", "text", "json"]), "auto"),
});

export const configSchema = v.strictObject({
  $schema: v.optional(v.string()),
  name: v.optional(v.pipe(text(), doc("This gateway's name; default: the host name"))),
  broker: v.pipe(broker, doc("Where messages come from")),
  database: v.pipe(database, doc("Where rows go")),
  spool: v.optional(v.pipe(spool, doc("Where messages wait")), {}),
  routes: v.optional(v.pipe(v.array(route), doc("Which messages become which rows"))),
  status: v.optional(status, {}),
  log: v.optional(log, {}),
});

export type ConfigInput = v.InferInput<typeof configSchema>;
type Parsed = v.InferOutput<typeof configSchema>;

/** The configuration as the program uses it. */
export interface Config extends Omit<Parsed, "name" | "routes" | "broker"> {
  readonly name: string;
  readonly broker: Omit<Parsed["broker"], "clientId"> & { readonly clientId: string };
  readonly routes: readonly RouteOptions[];
}

/** Everything under `Home/#`, as it came. */
export const DEFAULT_ROUTE: RouteOptions = {
  topic: "Home/#",
  table: "messages",
  decode: "bytes",
  columns: {
    received_at: "@received",
    topic: "@topic",
    payload: "@payload",
    qos: "@qos",
    retained: "@retain",
  },
};
