/**
 * The few packets of the MySQL protocol that a fake server needs: greeting, login, OK, ERR, EOF, text result set.
 *
 * Client/server protocol 4.1 with CLIENT_PROTOCOL_41 and without CLIENT_DEPRECATE_EOF, compression or TLS. Any
 * password is right. It builds and cuts packets; it holds no connection.
 */
import { Buffer } from "node:buffer";

/** LONG_PASSWORD, FOUND_ROWS, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_RESULTS, PLUGIN_AUTH. */
const CAPABILITIES = 0x1 | 0x2 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x20000 | 0x80000;
const CONNECT_WITH_DB = 0x8;
const PLUGIN_AUTH_LENENC_DATA = 0x200000;

const STATUS_IN_TRANSACTION = 1;
const STATUS_AUTOCOMMIT = 2;
const CHARSET_UTF8MB4 = 45;
const CHARSET_BINARY = 63;
const TYPE_DOUBLE = 5;
const TYPE_LONGLONG = 8;
const TYPE_VAR_STRING = 253;
const PACKET_BYTES_MAX = 0xff_ffff;

export interface Ok {
  readonly affectedRows?: number;
  readonly insertId?: number;
  readonly warnings?: number;
  readonly info?: string;
  /** SERVER_STATUS_IN_TRANS. */
  readonly inTransaction?: boolean;
}

export interface Refusal {
  readonly errno: number;
  readonly message: string;
  /** Five characters. Default HY000. */
  readonly sqlState?: string;
}

export interface ResultSet {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | null)[])[];
  /** SERVER_STATUS_IN_TRANS. */
  readonly inTransaction?: boolean;
}

export interface Login {
  readonly user: string;
  readonly database: string | undefined;
}

/** Wraps payloads into packets with rising sequence numbers. */
export function packets(firstSequence: number, ...payloads: Uint8Array[]): Buffer {
  const parts = payloads.flatMap((payload, index) => {
    const header = Buffer.alloc(4);
    header.writeUIntLE(payload.length, 0, 3);
    header[3] = (firstSequence + index) & 0xff;
    return [header, payload];
  });
  return Buffer.concat(parts);
}

/** Cuts a byte stream into packets, whatever its chunks are. Packets of 16 MiB and more are put together. */
export class PacketReader {
  #rest = Buffer.alloc(0);
  #long: Buffer[] = [];

  /** The packets that `chunk` completes. */
  *read(chunk: Uint8Array): Generator<{ sequence: number; payload: Buffer }> {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 4) {
      const length = this.#rest.readUIntLE(0, 3);
      if (this.#rest.length < 4 + length) return;
      const sequence = this.#rest[3]!;
      this.#long.push(this.#rest.subarray(4, 4 + length));
      this.#rest = this.#rest.subarray(4 + length);
      if (length < PACKET_BYTES_MAX) yield { sequence, payload: Buffer.concat(this.#long.splice(0)) };
    }
  }
}

/** The first packet of a server (HandshakeV10). */
export function greeting(version: string, threadId: number): Buffer {
  const scramble = Buffer.alloc(20, "x");
  const fixed = Buffer.alloc(4);
  fixed.writeUInt32LE(threadId);
  const flags = Buffer.alloc(18);
  flags.writeUInt16LE(CAPABILITIES & 0xffff, 0);
  flags[2] = CHARSET_UTF8MB4;
  flags.writeUInt16LE(STATUS_AUTOCOMMIT, 3);
  flags.writeUInt16LE(CAPABILITIES >>> 16, 5);
  flags[7] = scramble.length + 1;
  const plugin = Buffer.from("mysql_native_password\0");
  const nul = Buffer.alloc(1);
  return Buffer.concat([
    Buffer.from([10]),
    Buffer.from(`${version}\0`),
    ...[fixed, scramble.subarray(0, 8), nul, flags, scramble.subarray(8), nul, plugin],
  ]);
}

/** Reads the client's answer to the greeting (HandshakeResponse41). */
export function readLogin(payload: Buffer): Login {
  const capabilities = payload.readUInt32LE(0);
  const userEnd = payload.indexOf(0, 32);
  const user = payload.toString("utf8", 32, userEnd);
  if (!(capabilities & CONNECT_WITH_DB)) return { user, database: undefined };
  // A scramble is shorter than 251 bytes, so that its length is one byte under either flag.
  const secret = payload[userEnd + 1]!;
  if (secret > 250 && capabilities & PLUGIN_AUTH_LENENC_DATA) return { user, database: undefined };
  const start = userEnd + 2 + secret;
  return { user, database: payload.toString("utf8", start, payload.indexOf(0, start)) };
}

function statusFlags(inTransaction: boolean): number {
  return STATUS_AUTOCOMMIT | (inTransaction ? STATUS_IN_TRANSACTION : 0);
}

export function ok(
  { affectedRows = 0, insertId = 0, warnings = 0, info = "", inTransaction = false }: Ok = {},
): Buffer {
  const status = Buffer.alloc(4);
  status.writeUInt16LE(statusFlags(inTransaction), 0);
  status.writeUInt16LE(warnings, 2);
  return Buffer.concat([Buffer.from([0]), lenenc(affectedRows), lenenc(insertId), status, Buffer.from(info)]);
}

export function refusal({ errno, message, sqlState = "HY000" }: Refusal): Buffer {
  return Buffer.concat([
    Buffer.from([0xff, errno & 0xff, errno >> 8]),
    Buffer.from(`#${sqlState}${message}`),
  ]);
}

/** The payloads of a text result set: column count, columns, EOF, rows, EOF. */
export function resultSet({ columns, rows, inTransaction = false }: ResultSet): Buffer[] {
  const eof = Buffer.from([0xfe, 0, 0, statusFlags(inTransaction), 0]);
  const definitions = columns.map((name, index) => column(name, rows.map((row) => row[index]!)));
  const cells = rows.map((row) =>
    Buffer.concat(row.map((value) => value === null ? Buffer.from([0xfb]) : text(String(value))))
  );
  return [lenenc(columns.length), ...definitions, eof, ...cells, eof];
}

function column(name: string, values: readonly (string | number | null)[]): Buffer {
  const given = values.filter((value) => value !== null);
  const numeric = given.length > 0 && given.every((value) => typeof value === "number");
  const type = !numeric ? TYPE_VAR_STRING : given.every(Number.isInteger) ? TYPE_LONGLONG : TYPE_DOUBLE;
  const tail = Buffer.alloc(13);
  tail[0] = 0x0c;
  tail.writeUInt16LE(numeric ? CHARSET_BINARY : CHARSET_UTF8MB4, 1);
  tail.writeUInt32LE(0xffff, 3);
  tail[7] = type;
  return Buffer.concat([text("def"), text("home"), text("t"), text("t"), text(name), text(name), tail]);
}

/** A length-encoded integer. */
function lenenc(value: number): Buffer {
  if (value < 251) return Buffer.from([value]);
  const buffer = Buffer.alloc(9);
  buffer[0] = 0xfe;
  buffer.writeBigUInt64LE(BigInt(value), 1);
  return buffer;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([lenenc(bytes.length), bytes]);
}
