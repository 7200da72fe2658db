/**
 * The packets that answer a PUBLISH or PUBREL with success: PUBACK, PUBREC, PUBCOMP (MQTT 5 sections 3.4, 3.5, 3.7).
 *
 * Written by hand, because there is one for each message and they are four bytes: without a reason code, which means
 * success, they are the same in MQTT 3.1.1 and 5.
 */
import type { Arrival } from "../message.ts";

const PUBACK = 0x40;
const PUBREC = 0x50;
const PUBCOMP = 0x70;

export interface Acknowledgements {
  /** Packets in the order of `arrivals`, to be written in one go. */
  readonly bytes: Uint8Array;
  /** How many of them make room in the broker's window: PUBACK and PUBCOMP. */
  readonly completed: number;
}

/** Answers those arrivals that came over `connection`; the others are left out. */
export function acknowledgements(arrivals: readonly Arrival[], connection: number): Acknowledgements {
  const bytes = new Uint8Array(arrivals.length * 4);
  let at = 0;
  let completed = 0;
  for (const arrival of arrivals) {
    if (arrival.connection !== connection || arrival.kind === "sessionLost") continue;
    if (arrival.kind === "publish" && arrival.qos === 0) continue;
    const type = arrival.kind === "release" ? PUBCOMP : arrival.qos === 1 ? PUBACK : PUBREC;
    if (type !== PUBREC) completed++;
    bytes[at] = type;
    bytes[at + 1] = 2;
    bytes[at + 2] = arrival.packetId >> 8;
    bytes[at + 3] = arrival.packetId & 0xff;
    at += 4;
  }
  return { bytes: bytes.subarray(0, at), completed };
}
