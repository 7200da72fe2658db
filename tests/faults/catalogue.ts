/**
 * The fault catalogue: what may happen to the gateway, and where it is tested that it does no harm.
 *
 * A test carries the number of its row at the beginning of its title, "12: ...", or is named here by its whole title,
 * where it was written for another purpose first. `...` in a title stands for what the source fills in. A row without
 * proofs has a test with its number in whatever file.
 */

/** A file whose titles carry the number, or a file and the title of a test in it. */
export type Proof = string | readonly [file: string, title: string];

export interface Row {
  readonly number: number;
  readonly fault: string;
  readonly proofs: readonly Proof[];
  /** Why it cannot be tested here, in one sentence. */
  readonly untested?: string;
}

const GATEWAY = "tests/faults/gateway_test.ts";
const BROKER = "tests/faults/broker_test.ts";
const LINE = "tests/faults/line_test.ts";
const NETWORK = "tests/faults/network_test.ts";
const COMMIT = "tests/faults/commit_test.ts";
const OUTAGE = "tests/e2e/outage_test.ts";
const HANDSHAKE = "tests/mqtt/handshake_test.ts";
const MOSQUITTO = "tests/mqtt/mosquitto_test.ts";
const SESSION = "tests/mqtt/session_test.ts";
const TORTURE: Proof = [
  "tests/faults/torture_test.ts",
  "... random faults lose nothing and double nothing with ...",
];

function row(number: number, fault: string, ...proofs: Proof[]): Row {
  return { number, fault, proofs };
}

export const CATALOGUE: readonly Row[] = [
  // The gateway's process.
  row(
    1,
    "Gateway kill -9 loop",
    [OUTAGE, "kill -9 of the program loses and doubles nothing in ..."],
    TORTURE,
  ),
  row(2, "kill -9 between spool commit and PUBACK", GATEWAY),
  row(3, "kill -9 between PUBREC and PUBREL (QoS2)", GATEWAY),
  row(4, "kill -9 between PUBREL and PUBCOMP", GATEWAY),
  row(5, "kill -9 after MySQL COMMIT, before spool delete", GATEWAY),
  row(6, "kill -9 after DLQ insert, before batch commit", GATEWAY),
  row(7, "Power loss (unsynced writes lost)"),
  row(8, "Torn last WAL page", [
    "tests/spool/damage_test.ts",
    "the torn end of a log takes the last transactions with it, and nothing else",
  ]),
  row(9, "SIGTERM under load", GATEWAY, [
    OUTAGE,
    "SIGTERM under load ends the program cleanly, and ... has everything after the next start",
  ]),
  row(10, "SIGSTOP 5 min, SIGCONT", GATEWAY),
  row(11, "Two gateways, same client id", GATEWAY, LINE, [
    SESSION,
    "two clients that push each other out wait longer and longer, for all the time that each of them stood",
  ]),
  // The broker, and the line to it.
  row(12, "Broker kill -9, autosave off", BROKER, [
    MOSQUITTO,
    "MQTT ...: a broker that has forgotten the session is told what to send, and it is reported",
  ], [
    "tests/mqtt/acknowledge_test.ts",
    "an acknowledgement never goes over a later connection, whatever its packet id means there",
  ]),
  row(13, "Broker kill -9, autosave_on_changes", BROKER, [
    SESSION,
    "a broker that comes back with an older session gets its subscriptions again, by MQTT 4 as well",
  ]),
  row(14, "Broker SIGTERM/restart", BROKER, [OUTAGE, "the broker may be stopped and started again"]),
  row(15, "Broker SIGSTOP (half-open)", BROKER, [
    "tests/mqtt/outage_test.ts",
    "a frozen broker is noticed within one and a half keepalives and used again when it thaws",
  ]),
  row(16, "Cable pull", NETWORK),
  row(17, "Black hole after CONNECT", LINE, [
    HANDSHAKE,
    "a server that accepts and then keeps silent is given up after the deadline",
  ], ["tests/backoff_test.ts", "two that fail in step do not come back in step"]),
  row(18, "CONNACK refused 135/136, then OK", LINE, [
    HANDSHAKE,
    "MQTT ...: a refused CONNACK is reported and tried again until it is accepted",
  ]),
  row(19, "SUBACK 0x80 or lower QoS", "tests/faults/subscription_test.ts", [
    "tests/mqtt/subscriptions_test.ts",
    "MQTT ...: a refused and a lowered filter are told, asked for again every minute, and told when mended",
  ]),
  row(20, "Malformed packet / garbage bytes", [
    HANDSHAKE,
    "... in place of CONNACK ends the attempt, and the next one is made",
  ], [
    HANDSHAKE,
    "... in the stream ends the connection; what came before it is kept, what comes after is not",
  ]),
  row(21, "Huge packet header (200 MB)", [
    HANDSHAKE,
    "... in the stream ends the connection; what came before it is kept, what comes after is not",
  ], [SESSION, "MQTT 4: a packet that is too large is said with what to do, and not fetched again soon"]),
  row(22, "TCP slicer, 1-byte chunks, 500 ms latency", LINE, [
    "tests/mqtt/outage_test.ts",
    "slices of one byte and a slow line change nothing",
  ]),
  row(23, "RST in mid-packet, random, 1/s for 10 min", LINE, [
    MOSQUITTO,
    "the publisher's messages cross resets at random moments without a gap in what is handed over",
  ]),
  row(24, "Acks delayed/reordered by slow disk"),
  row(25, "Offline longer than the broker queue", BROKER, [
    MOSQUITTO,
    "messages that the broker drops for the sleeping gateway are told after it is back",
  ]),
  row(26, "Flood 10x capacity, QoS1", "tests/faults/flood_test.ts"),
  row(27, "Flood QoS0", "tests/faults/flood_test.ts", [
    "tests/mqtt/outage_test.ts",
    "a flood at QoS 0 that nobody pulls fills the inbox to its bound and no further",
  ]),
  row(28, "Retained + resubscribe", "tests/faults/subscription_test.ts", [
    MOSQUITTO,
    "retained messages come with a new subscription and not with a later connection",
  ], [
    SESSION,
    "MQTT 4: a line that breaks brings no retained message again, because the broker is the same",
  ]),
  row(29, "Config change: filter removed/overlapping", "tests/faults/reload_test.ts"),
  // The database.
  row(30, "MySQL kill -9 loop during batches", [
    OUTAGE,
    "... may be killed and started again in the middle of everything",
  ], TORTURE),
  row(31, "kill -9 exactly at COMMIT", COMMIT),
  row(32, "Zombie COMMIT released later", COMMIT),
  row(33, "MySQL SIGSTOP (half-open)"),
  row(34, "KILL CONNECTION / KILL QUERY", COMMIT),
  row(35, "wait_timeout idle drop", [
    "tests/mysql/article_test.ts",
    "with ... the next message is written to ... without an error reaching anyone",
  ]),
  row(36, "Too many connections"),
  row(37, "read_only on/off, failover"),
  row(38, "Lock wait / deadlock"),
  row(39, "MySQL disk full"),
  row(40, "max_allowed_packet 1 MB, big rows"),
  row(41, "Table dropped / column renamed / new NOT NULL column"),
  row(42, "GRANT revoked / password rotated / cert expired"),
  row(43, "Poison rows 1 % of each kind (list C1, C2)"),
  row(44, "100 % poison (schema drift)"),
  row(
    45,
    "Bad payloads: invalid UTF-8, NUL, lone surrogate, NaN, 1e999, 2^53+1, -0, 10 MB, 1000-deep JSON, `__proto__` keys, empty, NULs in topic",
  ),
  row(46, "Non-strict sql_mode server default"),
  row(47, "DB lost last second (flush=0 + kill -9; restored snapshot)"),
  row(48, "Ledger row deleted / foreign epoch"),
  // Disk, clock and memory.
  row(49, "Spool disk full (ENOSPC)"),
  row(50, "Spool EIO on write / fsync"),
  row(51, "Spool read-only remount"),
  row(52, "Spool corrupt page / header / zero length / deleted while down"),
  row(53, "Spool file deleted while running"),
  row(54, "Spool restored from old copy / cloned card"),
  row(55, "WAL checkpoint blocked by a reader"),
  row(56, "Clock +1 h, -1 h, 1970 at boot, +10 y"),
  row(57, "DST change, leap second, TZ change"),
  row(58, "Memory limit"),
  row(59, "fd limit 64, DNS failure, IP change of DB", NETWORK),
  row(60, "Everything at once, seeded, 12 h", TORTURE),
];
