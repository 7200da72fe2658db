/**
 * What a database error means for the writer, by number and server flavour, never by name: the driver names MariaDB's
 * numbers from MySQL's table. One line for each number that needs one; what is not here is treated as passing trouble.
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

const CLASSES: readonly (readonly [ErrorClass, readonly number[]])[] = [
  ["lost", [
    1053,
    1077,
    1078,
    1079,
    1080,
    1152,
    1156,
    1157,
    1158,
    1159,
    1160,
    1161,
    1180,
    1184,
    2006,
    2013,
    2014,
    2045,
    2055,
  ]],
  ["retry", [1213, 1614, 1020, 1206, 1317, 1297, 1412, 1615, 1637]],
  ["busy", [1040, 1203, 1226, 1129, 1135, 1037, 1038, 1041, 1461]],
  ["state", [1290, 1836, 1792, 1874, 1047, 1223, 1105, 1815]],
  ["table", [1205, 1099, 1100, 1021, 1114, 1026, 1878, 1015, 1030, 1194, 1195, 1712]],
  ["row", [
    ...[
      1264,
      1265,
      1292,
      1366,
      1406,
      1048,
      1062,
      1300,
      1367,
      1216,
      1217,
      1451,
      1452,
      1526,
      1748,
      1863,
      1369,
      1411,
    ],
    ...[1416, 1690, 1118, 1162, 1022, 1169, 1586, 1644, 1153],
  ]],
  ["schema", [
    1054,
    1064,
    1051,
    1109,
    1110,
    1136,
    1146,
    1149,
    1166,
    1210,
    1288,
    1305,
    1356,
    // A column without a default that the route does not write: true of every row.
    1364,
    1390,
    1442,
    1449,
  ]],
  ["auth", [1044, 1045, 1049, 1130, 1251, 1524, 1698, 1820, 1862, 1873]],
  ["forbidden", [1142, 1143, 1227, 1370]],
];

const OF_FLAVOUR: Readonly<Record<Flavour, readonly (readonly [ErrorClass, readonly number[]])[]>> = {
  mysql: [
    ["lost", [3169, 4031]],
    ["retry", [3101, 3024]],
    ["state", [3032, 3168, 3100]],
    ["table", [3098, 3675]],
    ["row", [3819, 3140, 3141, 3144, 3147, 3150, 3155, 3156, 3157, 3158]],
    ["schema", [3105]],
    ["auth", [3118, 3159, 3955]],
  ],
  mariadb: [
    ["lost", [1927]],
    ["retry", [1969]],
    ["row", [4025, 4038, 1977]],
    ["auth", [4151]],
  ],
};

const table = (flavour: Flavour) =>
  new Map(
    [...CLASSES, ...OF_FLAVOUR[flavour]].flatMap(([name, numbers]) =>
      numbers.map((it) => [it, name] as const)
    ),
  );
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
  readonly fatal?: boolean;
}

export function classify(error: unknown, flavour: Flavour): ErrorClass {
  if (error instanceof ConnectionLostError) return "lost";
  const { errno, code, fatal } = (error ?? {}) as DriverError;
  if (typeof errno === "number" && errno >= 1_000) {
    return TABLES[flavour].get(errno) ?? (fatal ? "lost" : "unknown");
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
  const kind = classify(error, "mysql");
  return kind === "auth" ? "permanent" : kind === "busy" ? "busy" : "other";
}

/** The database's own number, or null for errors of the wire. */
export function errnoOf(error: unknown): number | null {
  const { errno } = (error ?? {}) as DriverError;
  return typeof errno === "number" && errno >= 1_000 ? errno : null;
}
