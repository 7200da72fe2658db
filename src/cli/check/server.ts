/**
 * The database server's limits and habits against the pool's.
 */
import { placeInFile } from "../../config/load.ts";
import type { MysqlConnection } from "../../mysql/connect.ts";
import { inspectServer, type ServerFacts } from "../../mysql/inspect.ts";
import { formatDuration, formatSize } from "../../units.ts";
import type { FileReport, Found, Path } from "./report.ts";

/** Payloads of 4 MiB are pictures; what a home says otherwise is far below. */
const PACKET_BYTES_LEAST = 4 * 1024 * 1024;
/** Clocks in a home that are set by NTP are closer. */
const CLOCK_APART_MS = 5_000;

export async function checkServer(report: FileReport, connection: MysqlConnection): Promise<void> {
  const facts = await inspectServer(connection);
  const say = (path: Path, severity: Found["severity"], code: string, message: string, fix?: string) =>
    report.at(path, { severity, code, message, fix });
  report.good(`the database lets us in (${facts.version})`);
  if (facts.readOnly) {
    say(
      ["database", "url"],
      "warning",
      "read-only",
      "the server is read-only at the moment: rows wait in the spool",
      "SET GLOBAL read_only = OFF",
    );
  }
  connections(report, facts);
  if (facts.packetBytesMax < PACKET_BYTES_LEAST) {
    say(
      ["database", "url"],
      "warning",
      "packet",
      `max_allowed_packet is ${formatSize(facts.packetBytesMax)}: a larger row becomes a dead letter`,
      "SET GLOBAL max_allowed_packet = 67108864;\nand, to keep it over a restart, in the server's configuration: max_allowed_packet=64M",
    );
  }
  if (facts.flushAtCommit !== 1) {
    say(
      ["database", "url"],
      "note",
      "flush",
      `innodb_flush_log_at_trx_commit is ${facts.flushAtCommit}: when its power fails, the server loses the last second; ` +
        "the gateway notices and writes it again",
      "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
    );
  }
  const apartMs = Math.abs(facts.aheadMs) - facts.aheadErrorMs;
  if (apartMs > CLOCK_APART_MS) {
    say(
      ["database", "url"],
      "warning",
      "clock",
      `the database's clock is ${formatDuration(apartMs)} ${
        facts.aheadMs > 0 ? "ahead of" : "behind"
      } this machine's: the time of arrival (@received) is this machine's`,
      "let both follow a time server: timedatectl set-ntp true",
    );
  }
}

function connections(report: FileReport, facts: ServerFacts): void {
  const { pool } = report.loaded.config.database;
  const warn = (path: Path, code: string, message: string, fix?: string) =>
    report.at(path, { severity: "warning", code, message, fix });
  if (pool.kind === "queue" && pool.recycle !== null && pool.recycle / 1_000 >= facts.waitTimeoutS) {
    warn(
      ["database", "pool", "recycle"],
      "recycle",
      `recycle (${
        formatDuration(pool.recycle)
      }) is not below the server's wait_timeout (${facts.waitTimeoutS} s): ` +
        "the server ends idle connections before the pool replaces them",
      inPool(report, `"recycle": "${Math.max(1, Math.floor(facts.waitTimeoutS * 0.8))}s"`),
    );
  }
  const most = pool.size + pool.maxOverflow;
  const { connectionsMax, userConnectionsMax } = facts;
  const allowed = userConnectionsMax > 0 ? Math.min(userConnectionsMax, connectionsMax) : connectionsMax;
  if (pool.kind === "queue" && most > allowed) {
    const size = Math.min(pool.size, allowed);
    warn(
      ["database", "pool"],
      "pool-size",
      `the pool may open ${most} connections (size + maxOverflow), the server takes ${allowed}${
        allowed < connectionsMax ? " from this user (max_user_connections)" : " in all (max_connections)"
      }`,
      inPool(report, `"size": ${size}, "maxOverflow": ${allowed - size}`),
    );
  }
}

/** A line for the file, which may not have a "pool" yet. */
function inPool({ loaded: { source } }: FileReport, line: string): string {
  return placeInFile(source, ["database", "pool"]).found ? line : `in "database": "pool": { ${line} }`;
}
