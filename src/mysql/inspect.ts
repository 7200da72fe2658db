/**
 * What a database says about itself and its tables, as plain facts. It judges nothing (`compare.ts` does) and changes
 * nothing.
 */
import { type Clock, systemClock } from "../clock.ts";
import type { MysqlConnection } from "./connect.ts";

export interface TableColumn {
  readonly name: string;
  /** `data_type` of information_schema: `varchar`; where MariaDB keeps a text with JSON_VALID for it, `json`. */
  readonly type: string;
  /** The whole type as SQL: `int(10) unsigned`, `enum('on','off')`. */
  readonly sqlType: string;
  /** Characters of `char` and `varchar`, bytes of everything else that has a length. */
  readonly length: number | null;
  readonly nullable: boolean;
  /** An INSERT may leave it out. */
  readonly hasDefault: boolean;
  /** What follows NULL or NOT NULL where the column is defined again: DEFAULT, ON UPDATE, COMMENT; may be empty. */
  readonly rest: string;
  /** It is computed by the database. */
  readonly generated: boolean;
  readonly autoIncrement: boolean;
  readonly charset: string | null;
}

export interface UniqueKey {
  readonly name: string;
  /** In the order of the key. */
  readonly columns: readonly string[];
}

export interface TableFacts {
  /** As the database writes it. */
  readonly name: string;
  readonly kind: "table" | "view";
  readonly engine: string;
  readonly columns: readonly TableColumn[];
  readonly uniqueKeys: readonly UniqueKey[];
  /** A trigger may fill in or refuse what is inserted. */
  readonly hasInsertTrigger: boolean;
}

export interface ServerFacts {
  readonly version: string;
  readonly waitTimeoutS: number;
  readonly connectionsMax: number;
  /** Of this user; 0: as many as the server takes. */
  readonly userConnectionsMax: number;
  readonly packetBytesMax: number;
  readonly readOnly: boolean;
  /** 1: a COMMIT is on disk when it returns. */
  readonly flushAtCommit: number;
  /** How much the server's clock is ahead of this machine's; negative: behind. */
  readonly aheadMs: number;
  /** By how much `aheadMs` may be wrong: half of the round trip. */
  readonly aheadErrorMs: number;
}

type Row = Readonly<Record<string, string | number | null>>;

export async function inspectServer(
  connection: MysqlConnection,
  clock: Clock = systemClock,
): Promise<ServerFacts> {
  const [row] = await connection.query(
    `SELECT VERSION() AS version, @@global.wait_timeout AS wait_timeout, @@max_connections AS connections,
       @@session.max_user_connections AS user_connections, @@max_allowed_packet AS packet,
       @@global.read_only AS read_only, @@innodb_flush_log_at_trx_commit AS flush`,
  );
  const { now, errorMs } = await serverTime(connection, clock);
  return {
    version: String(row.version),
    waitTimeoutS: Number(row.wait_timeout),
    connectionsMax: Number(row.connections),
    userConnectionsMax: Number(row.user_connections),
    packetBytesMax: Number(row.packet),
    readOnly: Number(row.read_only) !== 0,
    flushAtCommit: Number(row.flush),
    aheadMs: now,
    aheadErrorMs: errorMs,
  };
}

async function serverTime(
  connection: MysqlConnection,
  clock: Clock,
): Promise<{ now: number; errorMs: number }> {
  const before = clock.wallMs();
  const [{ at }] = await connection.query("SELECT UTC_TIMESTAMP(3) AS at");
  const after = clock.wallMs();
  return {
    now: Date.parse(`${String(at).replace(" ", "T")}Z`) - (before + after) / 2,
    errorMs: (after - before) / 2,
  };
}

/** The table or view as information_schema knows it; null where it does not exist, or is hidden from this user. */
export async function inspectTable(connection: MysqlConnection, table: string): Promise<TableFacts | null> {
  const where = "table_schema = DATABASE() AND table_name = ?";
  const [facts] = await connection.execute(
    `SELECT table_name AS name, table_type AS kind, engine AS engine FROM information_schema.tables WHERE ${where}`,
    [table],
  );
  if (!facts) return null;
  const columns: Row[] = await connection.execute(
    `SELECT column_name AS name, data_type AS type, column_type AS sql_type, character_maximum_length AS length,
       is_nullable AS nullable, column_default AS preset, extra AS extra, column_comment AS comment,
       character_set_name AS charset
     FROM information_schema.columns WHERE ${where} ORDER BY ordinal_position`,
    [table],
  );
  const keys: Row[] = await connection.execute(
    `SELECT index_name AS name, column_name AS col FROM information_schema.statistics
     WHERE ${where} AND non_unique = 0 ORDER BY index_name, seq_in_index`,
    [table],
  );
  const [{ triggers }] = await connection.execute(
    `SELECT COUNT(*) AS triggers FROM information_schema.triggers
     WHERE event_object_schema = DATABASE() AND event_object_table = ? AND event_manipulation = 'INSERT'`,
    [table],
  );
  const json = await jsonColumns(connection, table);
  return {
    name: String(facts.name),
    kind: /view/i.test(String(facts.kind)) ? "view" : "table",
    engine: String(facts.engine ?? ""),
    columns: columns.map((row) => columnOf(row, connection, json)),
    uniqueKeys: uniqueKeys(keys),
    hasInsertTrigger: Number(triggers) > 0,
  };
}

/** Tables whose name begins so, for names with placeholders. */
export async function tablesBeginning(connection: MysqlConnection, prefix: string): Promise<string[]> {
  const rows: Row[] = await connection.execute(
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND LEFT(table_name, ?) = ?",
    [prefix.length, prefix],
  );
  return rows.map((it) => String(it.name));
}

/** MariaDB has no JSON: it keeps a LONGTEXT with a check for it. */
async function jsonColumns(connection: MysqlConnection, table: string): Promise<ReadonlySet<string>> {
  if (connection.flavour !== "mariadb") return new Set();
  const rows: Row[] = await connection.execute(
    `SELECT check_clause AS rule FROM information_schema.check_constraints
     WHERE constraint_schema = DATABASE() AND table_name = ?`,
    [table],
  ).catch(() => []);
  return new Set(rows.flatMap(({ rule }) => /^json_valid\(`(.+)`\)$/i.exec(String(rule))?.[1] ?? []));
}

function columnOf(row: Row, connection: MysqlConnection, json: ReadonlySet<string>): TableColumn {
  const extra = String(row.extra ?? "");
  const name = String(row.name);
  const type = json.has(name) ? "json" : String(row.type).toLowerCase();
  const generated = /\b(VIRTUAL|STORED|PERSISTENT)\b/i.test(extra);
  const autoIncrement = /auto_increment/i.test(extra);
  const preset = row.preset === null || row.preset === "NULL" ? null : String(row.preset);
  return {
    name,
    type,
    sqlType: String(row.sql_type),
    length: row.length === null ? null : Number(row.length),
    nullable: row.nullable === "YES",
    // An ENUM has its first value, with or without a word.
    hasDefault: preset !== null || generated || autoIncrement || type === "enum",
    rest: restOf({ preset, extra, comment: String(row.comment ?? "") }, connection.flavour),
    generated,
    autoIncrement,
    charset: row.charset === null ? null : String(row.charset),
  };
}

const text = (value: string) => `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;

function restOf(
  { preset, extra, comment }: { preset: string | null; extra: string; comment: string },
  flavour: MysqlConnection["flavour"],
): string {
  const onUpdate = /on update (\S+(?:\(\d*\))?)/i.exec(extra)?.[1];
  // MariaDB gives the default as SQL, MySQL as a value unless it is computed.
  const written = preset === null
    ? undefined
    : flavour === "mariadb"
    ? preset
    : !/DEFAULT_GENERATED/i.test(extra)
    ? text(preset)
    : /^CURRENT_TIMESTAMP/i.test(preset)
    ? preset
    : `(${preset})`;
  return [
    ...(written === undefined ? [] : [`DEFAULT ${written}`]),
    ...(onUpdate ? [`ON UPDATE ${onUpdate}`] : []),
    ...(/auto_increment/i.test(extra) ? ["AUTO_INCREMENT"] : []),
    ...(comment ? [`COMMENT ${text(comment)}`] : []),
  ].join(" ");
}

function uniqueKeys(rows: readonly Row[]): UniqueKey[] {
  const keys = new Map<string, string[]>();
  for (const { name, col } of rows) {
    const columns = keys.get(String(name)) ?? [];
    columns.push(String(col));
    keys.set(String(name), columns);
  }
  return [...keys].map(([name, columns]) => ({ name, columns }));
}
