/**
 * What mysql2 receives and keeps to itself: the server's status flags of each answer, and packets that answer nothing.
 *
 * It looks over mysql2's shoulder, at `handlePacket` of one connection, through which every packet goes. That is no
 * public interface: mysql2's exact version is pinned, and `tests/mysql/session_test.ts` holds this file to real servers.
 * It sends nothing, and changes one thing only: a packet that is out of order never reaches a command, where mysql2
 * writes a warning to stderr and takes the wrong answer for the right one.
 */
import type { Buffer } from "node:buffer";

/** SERVER_STATUS_IN_TRANS: a transaction is open, whichever statement opened it. */
export const IN_TRANSACTION = 1;

/** The first byte of a packet that ends an answer; EOF has no more than 8 bytes behind it. */
const OK = 0x00;
const EOF = 0xfe;
const ERR = 0xff;
const EOF_BYTES = 5;

export interface WireWatcher {
  /** An answer is complete, and said so. Errors carry no flags: the last ones stay. */
  onStatus(flags: number): void;
  /** The server spoke without being asked (4031 after `wait_timeout`, 1927, 1053), or out of order: no answer can be trusted. */
  onBroken(error: Error): void;
}

interface Packet {
  readonly buffer: Buffer;
  readonly offset: number;
  readonly end: number;
  readonly sequenceId: number;
}

// deno-lint-ignore no-explicit-any -- mysql2's own types leave out what is used here
export function watchWire(raw: any, { onStatus, onBroken }: WireWatcher): void {
  const handlePacket: (packet?: Packet) => void = raw.handlePacket.bind(raw);
  raw.handlePacket = (packet?: Packet) => {
    // Without a packet it begins the next command.
    if (!packet) return handlePacket();
    const { buffer, offset, end, sequenceId } = packet;
    const command = raw._command;
    if (!command || sequenceId !== raw.sequenceId) {
      return onBroken(buffer[offset] === ERR ? serverError(buffer, offset, end) : disorder(packet, raw));
    }
    handlePacket(packet);
    // The packet was the last of its answer. That of PREPARE has no flags, and EXECUTE follows it.
    if (raw._command === command || "parameterDefinitions" in command) return;
    const flags = statusFlags(buffer, offset, end);
    if (flags !== undefined) onStatus(flags);
  };
}

function statusFlags(buffer: Buffer, offset: number, end: number): number | undefined {
  const first = buffer[offset];
  if (first === EOF && end - offset === EOF_BYTES) return buffer.readUInt16LE(offset + 3);
  if (first !== OK) return undefined;
  // Two length-encoded integers stand before the flags: affected rows and insert id.
  const at = skipInteger(buffer, skipInteger(buffer, offset + 1));
  return at + 2 <= end ? buffer.readUInt16LE(at) : undefined;
}

function skipInteger(buffer: Buffer, at: number): number {
  const first = buffer[at];
  return at + (first < 0xfb ? 1 : first === 0xfc ? 3 : first === 0xfd ? 4 : 9);
}

/** An ERR packet: 0xff, number, '#', five characters of SQLSTATE, text. */
function serverError(buffer: Buffer, offset: number, end: number): Error {
  const errno = buffer.readUInt16LE(offset + 1);
  const text = buffer.toString("utf8", offset + 3, end).replace(/^#.{5}/, "");
  return Object.assign(new Error(text), { errno, fatal: true });
}

function disorder({ sequenceId }: Packet, raw: { _command?: unknown; sequenceId: number }): Error {
  const message = raw._command
    ? `packet ${sequenceId} came where ${raw.sequenceId} was due`
    : "a packet came that nobody had asked for";
  return Object.assign(new Error(message), { code: "PROTOCOL_PACKETS_OUT_OF_ORDER", fatal: true });
}
