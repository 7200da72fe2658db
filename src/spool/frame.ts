/**
 * Messages as bytes: how arrivals travel to the spool's worker, and how deliveries lie on disk.
 *
 * In transit, one arrival after another:
 *   u8 kind | publish: u8 flags, u16 packet id, f64 received at (ms), u16 topic bytes, u32 payload bytes,
 *   u16 addresses, u32 for each of them, topic, payload | release: u16 packet id | session lost: nothing
 * On disk, one delivery after another (a frame):
 *   u8 flags | f64 received at (ms) | u32 route | u16 topic bytes | u32 payload bytes | topic | payload
 * All little endian. `flags`: QoS in bits 0 and 1, retain in bit 2, duplicate in bit 3 (in transit only).
 * Transit needs no checksum; the row that holds a frame has one, over its position as well as its bytes. A frame of
 * middling size is packed on disk (raw deflate, RFC 1951).
 */
import { crc32, deflateRawSync, inflateRawSync } from "node:zlib";
import type { Arrival, Delivery, QoS } from "../message.ts";
import type { Frame } from "./stored.ts";

const PUBLISH = 0, RELEASE = 1, SESSION_LOST = 2;
const RETAIN = 4, DUPLICATE = 8;
const PUBLISH_HEAD_BYTES = 20;
const RELEASE_BYTES = 3;
export const STORED_HEAD_BYTES = 19;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Encodes arrivals into one buffer, to be transferred. `addressOf` gives the numbers of a topic's addresses. */
export function encodeArrivals(
  arrivals: readonly Arrival[],
  addressOf: (topic: string) => readonly number[],
): ArrayBuffer {
  let capacity = 0;
  for (const it of arrivals) {
    capacity += it.kind === "publish"
      ? PUBLISH_HEAD_BYTES + 64 + it.topic.length * 3 + it.payload.length
      : RELEASE_BYTES;
  }
  let bytes = new Uint8Array(capacity);
  let view = new DataView(bytes.buffer);
  let at = 0;
  const reserve = (needed: number) => {
    if (at + needed <= bytes.length) return;
    const larger = new Uint8Array((at + needed) * 2);
    larger.set(bytes);
    bytes = larger;
    view = new DataView(bytes.buffer);
  };
  for (const it of arrivals) {
    if (it.kind !== "publish") reserve(RELEASE_BYTES);
    if (it.kind === "sessionLost") bytes[at++] = SESSION_LOST;
    else if (it.kind === "release") {
      bytes[at] = RELEASE;
      view.setUint16(at + 1, it.packetId, true);
      at += 3;
    } else {
      const addresses = addressOf(it.topic);
      reserve(PUBLISH_HEAD_BYTES + addresses.length * 4 + it.topic.length * 3 + it.payload.length);
      const head = at;
      bytes[head] = PUBLISH;
      bytes[head + 1] = it.qos | (it.retain ? RETAIN : 0) | (it.duplicate ? DUPLICATE : 0);
      view.setUint16(head + 2, it.packetId, true);
      view.setFloat64(head + 4, it.receivedAtMs, true);
      view.setUint32(head + 14, it.payload.length, true);
      view.setUint16(head + 18, addresses.length, true);
      at = head + PUBLISH_HEAD_BYTES;
      for (const address of addresses) {
        view.setUint32(at, address, true);
        at += 4;
      }
      const { written } = encoder.encodeInto(it.topic, bytes.subarray(at));
      view.setUint16(head + 12, written, true);
      at += written;
      bytes.set(it.payload, at);
      at += it.payload.length;
    }
  }
  return bytes.buffer.slice(0, at);
}

/** What the worker reads of a publish in transit, without copying. */
export interface TransitPublish {
  flags: number;
  packetId: number;
  receivedAtMs: number;
  addresses: number[];
  /** Topic and payload, one behind the other. */
  content: Uint8Array;
  topicBytes: number;
}

export interface TransitVisitor {
  publish(it: TransitPublish): void;
  release(packetId: number): void;
  sessionLost(): void;
}

export function visitArrivals(buffer: ArrayBuffer, visitor: TransitVisitor): void {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  for (let at = 0; at < bytes.length;) {
    const kind = bytes[at];
    if (kind === SESSION_LOST) {
      at++;
      visitor.sessionLost();
    } else if (kind === RELEASE) {
      visitor.release(view.getUint16(at + 1, true));
      at += 3;
    } else {
      const topicBytes = view.getUint16(at + 12, true);
      const payloadBytes = view.getUint32(at + 14, true);
      const count = view.getUint16(at + 18, true);
      const addresses = [];
      const start = at + PUBLISH_HEAD_BYTES + 4 * count;
      for (let i = at + PUBLISH_HEAD_BYTES; i < start; i += 4) addresses.push(view.getUint32(i, true));
      visitor.publish({
        flags: bytes[at + 1],
        packetId: view.getUint16(at + 2, true),
        receivedAtMs: view.getFloat64(at + 4, true),
        addresses,
        content: bytes.subarray(start, start + topicBytes + payloadBytes),
        topicBytes,
      });
      at = start + topicBytes + payloadBytes;
    }
  }
}

/** Deliveries of one lane, as they will lie on disk. */
export class FrameWriter {
  #bytes = new Uint8Array(16 * 1024);
  #view = new DataView(this.#bytes.buffer);
  length = 0;
  count = 0;

  add(it: TransitPublish, route: number): void {
    const needed = this.length + STORED_HEAD_BYTES + it.content.length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(needed * 2);
      larger.set(this.#bytes.subarray(0, this.length));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    const at = this.length;
    this.#bytes[at] = it.flags & 7;
    this.#view.setFloat64(at + 1, it.receivedAtMs, true);
    this.#view.setUint32(at + 9, route, true);
    this.#view.setUint16(at + 13, it.topicBytes, true);
    this.#view.setUint32(at + 15, it.content.length - it.topicBytes, true);
    this.#bytes.set(it.content, at + STORED_HEAD_BYTES);
    this.length = needed;
    this.count++;
  }

  /** A view of what was written; valid until the next `add` or `clear`. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
    this.count = 0;
  }
}

/** Less has nothing to gain. More comes at once only when there is much to do, and then the processor is short. */
const PACK_BYTES_MIN = 512;
const PACK_BYTES_MAX = 32 * 1024;

/** What lies on disk of a frame's bytes: fewer of them, where that is worth it; a view of `bytes` else. */
export function pack(bytes: Uint8Array): Pick<Frame, "size" | "data"> {
  if (bytes.length < PACK_BYTES_MIN || bytes.length > PACK_BYTES_MAX) return { size: null, data: bytes };
  const data = deflateRawSync(bytes, { level: 3 });
  return data.length < bytes.length * 0.9 ? { size: bytes.length, data } : { size: null, data: bytes };
}

/** The bytes that were packed. */
export function unpack({ size, data }: Pick<Frame, "size" | "data">): Uint8Array {
  return size === null ? data : inflateRawSync(data, { maxOutputLength: size });
}

/** Of a frame's row: a damaged position is as bad as a damaged payload. */
export function checksum({ first, count, size, data }: Omit<Frame, "crc">): number {
  return crc32(data, crc32(`${first} ${count} ${size ?? ""}`));
}

/** When the first delivery of a frame had arrived. */
export function receivedAtOf(frame: Frame): number {
  const bytes = unpack(frame);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getFloat64(1, true);
}

/** The deliveries of a frame. Payloads are views of `bytes`. */
export function decodeFrame(
  bytes: Uint8Array,
  first: number,
  routeOf: (route: number) => string,
  topicOf: (bytes: Uint8Array) => string = (it) => decoder.decode(it),
): Delivery[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const deliveries: Delivery[] = [];
  let sequence = first;
  for (let at = 0; at < bytes.length;) {
    const flags = bytes[at];
    const topicEnd = at + STORED_HEAD_BYTES + view.getUint16(at + 13, true);
    const end = topicEnd + view.getUint32(at + 15, true);
    deliveries.push({
      sequence: sequence++,
      route: routeOf(view.getUint32(at + 9, true)),
      topic: topicOf(bytes.subarray(at + STORED_HEAD_BYTES, topicEnd)),
      payload: bytes.subarray(topicEnd, end),
      qos: (flags & 3) as QoS,
      retain: (flags & RETAIN) !== 0,
      receivedAtMs: view.getFloat64(at + 1, true),
    });
    at = end;
  }
  return deliveries;
}
