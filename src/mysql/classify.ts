/**
 * What a database error means for the writer, by number and server flavour, never by name: the driver names MariaDB's
 * numbers from MySQL's table. What is not here is judged by its SQLSTATE, or is unknown: no passing trouble of the
 * whole server as far as one can tell, so it holds up one lane.
 *
 * Sources: MySQL and MariaDB error references; Vitess `IsEphemeralError` and `isUnrecoverableError`.
 */
import { ConnectionLostError, type PoolErrorClass } from "../pool/mod.ts";

export type Flavour = "mariadb" | "mysql";

/**
 * `lost`: the connection is gone, the outcome unknown. `retry`: the transaction is void, repeat it. `busy`: too many of
 * something. `state`: the server is read-only or in maintenance. `table`: this table is locked, full or damaged. `row`:
 * this row is bad. `schema`: table or statement do not fit. `auth`: not allowed in. `forbidden`: not allowed here.
 */
export type ErrorClass =
  | "lost"
  | "retry"
  | "busy"
  | "state"
  | "table"
  | "row"
  | "schema"
  | "auth"
  | "forbidden"
  | "unknown";

type Numbers = Readonly<Partial<Record<ErrorClass, string>>>;

const CLASSES: Numbers = {
  // 1180: an error during COMMIT, whose outcome nobody knows.
  lost: "1053 1077 1078 1079 1080 1152 1156 1157 1158 1159 1160 1161 1180 1184 2006 2013 2014 2045 2055",
  retry: "1020 1206 1213 1297 1317 1412 1614 1615 1637",
  busy: "1037 1038 1040 1041 1129 1135 1203 1226 1461",
  state: "1047 1105 1223 1290 1792 1815 1836 1874",
  // 1205: a lock that is held on, after the time that a session of ours waits for one; others need not be concerned.
  // 1021, 1026, 1114, 1878: no space, which an operator makes; the lanes are told one by one, as there may be several disks.
  table: "1015 1021 1026 1030 1099 1100 1114 1194 1195 1205 1712 1877 1878",
  row:
    "1022 1048 1062 1118 1153 1162 1169 1216 1217 1264 1265 1292 1300 1365 1366 1367 1369 1406 1411 1416 1451 " +
    "1452 1526 1586 1644 1690 1748 1863",
  // 1364: a column without a default that the route does not write, which is so in every row.
  // 1785: a table without transactions, where the server's GTIDs forbid it.
  schema:
    "1050 1051 1054 1060 1064 1109 1110 1136 1146 1149 1166 1210 1288 1305 1356 1364 1390 1442 1449 1471 1785",
  // 1049: no such database. A user without rights is told 1044 instead; no lane can go on in either case.
  auth: "1044 1045 1049 1130 1251 1524 1698 1820 1862 1873",
  forbidden: "1142 1143 1227 1370",
};

/** The same number means different things from 1900 up. */
const OF_FLAVOUR: Readonly<Record<Flavour, Numbers>> = {
  mysql: {
    lost: "3169 4031",
    retry: "3024 3101",
    state: "3032 3100 3168",
    // 3098: a table that group replication does not take.
    table: "3098 3675",
    // 3988: a text that has no place in the column's character set.
    row: "3140 3141 3144 3147 3150 3155 3156 3157 3158 3819 3988",
    schema: "3105",
    auth: "3118 3159 3955",
  },
  mariadb: {
    lost: "1927",
    retry: "1969",
    row: "1977 4025 4038",
    schema: "1906",
    auth: "4151",
  },
};

/**
 * For numbers that are not listed, the first that fits of the SQL standard's classes: a server's next version, a
 * storage engine or a trigger (45) may have numbers of its own.
 */
const OF_STATE: readonly (readonly [RegExp, ErrorClass])[] = [
  [/^(22|23|44|45)/, "row"],
  [/^08/, "lost"],
  [/^40/, "retry"],
  [/^28/, "auth"],
  [/^42/, "schema"],
];

function table(flavour: Flavour): ReadonlyMap<number, ErrorClass> {
  const known = new Map<number, ErrorClass>();
  for (const classes of [CLASSES, OF_FLAVOUR[flavour]]) {
    for (const [name, numbers] of Object.entries(classes)) {
      for (const number of numbers.split(" ")) known.set(Number(number), name as ErrorClass);
    }
  }
  return known;
}
const TABLES: Readonly<Record<Flavour, ReadonlyMap<number, ErrorClass>>> = {
  mariadb: table("mariadb"),
  mysql: table("mysql"),
};

/** Codes of the operating system and the driver that say that the connection is gone, or never came. */
const LOST_CODES =
  /^(ECONNRESET|EPIPE|ECONNREFUSED|ECONNABORTED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|PROTOCOL_)/;

interface DriverError {
  readonly errno?: number;
  readonly code?: string;
  readonly sqlState?: string;
  readonly fatal?: boolean;
}

/** Without a flavour (the server has not said yet which it is) a number means what it does to one of them. */
export function classify(error: unknown, flavour?: Flavour): ErrorClass {
  if (error instanceof ConnectionLostError) return "lost";
  const { errno, code, sqlState = "", fatal } = (error ?? {}) as DriverError;
  if (typeof errno === "number" && errno >= 1_000) {
    const known = flavour ? TABLES[flavour].get(errno) : TABLES.mysql.get(errno) ?? TABLES.mariadb.get(errno);
    return known ?? (fatal ? "lost" : OF_STATE.find(([state]) => state.test(sqlState))?.[1] ?? "unknown");
  }
  if (code === "AUTH_SWITCH_PLUGIN_ERROR" || code === "HANDSHAKE_SSL_ERROR") return "auth";
  if (fatal || (typeof code === "string" && LOST_CODES.test(code))) return "lost";
  return "unknown";
}

/** A server that went read-only is not the one to write to any more; 1290 says that of other options, too. */
export function isFailover(error: unknown): boolean {
  const { errno, message } = (error ?? {}) as { errno?: number; message?: string };
  return errno === 1792 || errno === 1836 || errno === 1290 && /read.only/i.test(message ?? "");
}

/** What an error means to the pool. */
export function poolClass(error: unknown): PoolErrorClass {
  if (isFailover(error)) return "failover";
  // This host is blocked after too many connects that failed: to go on makes it no better.
  if (errnoOf(error) === 1129) return "permanent";
  const kind = classify(error);
  return kind === "auth" ? "permanent" : kind === "busy" ? "busy" : "other";
}

/** The database's own number, or null for errors of the wire. */
export function errnoOf(error: unknown): number | null {
  const { errno } = (error ?? {}) as DriverError;
  return typeof errno === "number" && errno >= 1_000 ? errno : null;
}
