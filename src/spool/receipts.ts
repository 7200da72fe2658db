/**
 * Which packet ids of this session are on disk already, so that what the broker sends again is stored once.
 *
 * A PUBLISH is a repetition only if its DUP flag is set and its id came with the same topic and payload: for QoS 2 as
 * long as its PUBREL has not come and a while longer (a broker may send it again after PUBREL), for QoS 1 among the
 * latest ids. DUP = 0 is a new message (MQTT 5, 3.3.1.1), except for a QoS 2 id that was not released (4.3.3). The set
 * is pure: `journal` gives what to write down, `replay` reads it back.
 */
const QOS1 = 1, QOS2 = 2, RELEASED = 3, CLEARED = 4;
export const ENTRY_BYTES = 11;
/** Ids that are remembered: many more than a broker has under way, far fewer than the 65,535 after which ids come again. */
export const REMEMBERED = 4_096;

interface Receipt {
  kind: number;
  low: number;
  high: number;
  /** Number of the entry that made it. */
  at: number;
}

export class Receipts {
  readonly #byId = new Map<number, Receipt>();
  #entries = 0;
  #journal: number[][] = [];

  /** True where this PUBLISH was stored before; otherwise it is noted as stored now. */
  isDuplicate(packetId: number, qos: number, duplicate: boolean, content: Uint8Array): boolean {
    if (packetId === 0) return false;
    const [low, high] = hash(content);
    const known = this.#byId.get(packetId);
    if (known && known.low === low && known.high === high) {
      if (qos === 2 && known.kind === QOS2) return true;
      if (duplicate && qos === 2 && known.kind === RELEASED && this.#entries - known.at < REMEMBERED) {
        return true;
      }
      if (duplicate && qos === 1 && known.kind === QOS1 && this.#entries - known.at < REMEMBERED) return true;
    }
    this.#note(qos === 2 ? QOS2 : QOS1, packetId, low, high);
    return false;
  }

  release(packetId: number): void {
    const known = this.#byId.get(packetId);
    this.#note(RELEASED, packetId, known?.low ?? 0, known?.high ?? 0);
  }

  clear(): void {
    this.#note(CLEARED, 0, 0, 0);
  }

  #note(kind: number, packetId: number, low: number, high: number): void {
    this.#journal.push([kind, packetId, low, high]);
    this.#apply(kind, packetId, low, high);
  }

  #apply(kind: number, packetId: number, low: number, high: number): void {
    this.#entries++;
    if (kind === CLEARED) this.#byId.clear();
    else this.#byId.set(packetId, { kind, low, high, at: this.#entries });
  }

  /** What happened since the last call, to be written down with the messages. */
  takeJournal(): Uint8Array {
    const bytes = new Uint8Array(this.#journal.length * ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    this.#journal.forEach(([kind, packetId, low, high], i) => {
      const at = i * ENTRY_BYTES;
      bytes[at] = kind;
      view.setUint16(at + 1, packetId, true);
      view.setUint32(at + 3, low, true);
      view.setUint32(at + 7, high, true);
    });
    this.#journal = [];
    return bytes;
  }

  /** Forgets what is too old, and gives all that is remembered, oldest first, as a journal that `replay` reads. */
  picture(): Uint8Array {
    for (const [packetId, { kind, at }] of this.#byId) {
      if (kind !== QOS2 && this.#entries - at >= REMEMBERED) this.#byId.delete(packetId);
    }
    const receipts = [...this.#byId].sort(([, a], [, b]) => a.at - b.at);
    this.#journal = receipts.map(([packetId, { kind, low, high }]) => [kind, packetId, low, high]);
    return this.takeJournal();
  }

  replay(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at + ENTRY_BYTES <= bytes.length; at += ENTRY_BYTES) {
      this.#apply(
        bytes[at],
        view.getUint16(at + 1, true),
        view.getUint32(at + 3, true),
        view.getUint32(at + 7, true),
      );
    }
  }
}

/** Two independent 32-bit hashes (FNV-1a and a multiplicative one). */
function hash(bytes: Uint8Array): [number, number] {
  let a = 0x811c9dc5, b = 0x9e3779b9;
  for (let i = 0; i < bytes.length; i++) {
    a = Math.imul(a ^ bytes[i], 0x01000193);
    b = Math.imul(b + bytes[i], 0x85ebca6b) ^ (b >>> 13);
  }
  return [a >>> 0, b >>> 0];
}
