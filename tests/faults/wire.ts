/**
 * What a proxy saw between broker and gateway, as MQTT packets: the witness that does not trust the gateway's log.
 *
 * Packets are those that the sender wrote, whatever the proxy then did to them. So an acknowledgement counts as given
 * as soon as it has left the gateway, which is the stricter reading of every promise about it.
 */
import type { Buffer } from "node:buffer";
import { type IPublishPacket, type Packet, parser } from "mqtt-packet";
import type { Direction, FaultProxy } from "../servers/proxy.ts";

export interface Seen {
  readonly connection: number;
  readonly direction: Direction;
  readonly packet: Packet;
}

const TYPES = { puback: 4, pubrec: 5, pubrel: 6, pubcomp: 7 } as const;
export type Answer = keyof typeof TYPES;

/** Whether a packet of this kind begins in `chunk`, which must begin with a packet. */
export function holdsA(kind: Answer, chunk: Uint8Array): boolean {
  for (let at = 0; at < chunk.length;) {
    if (chunk[at] >> 4 === TYPES[kind]) return true;
    let length = 0, shift = 0, byte;
    do {
      byte = chunk[++at] ?? 0;
      length |= (byte & 127) << shift;
      shift += 7;
    } while (byte & 128);
    at += 1 + length;
  }
  return false;
}

/** All packets in the order in which they were read. */
export function packets(proxy: FaultProxy, version: 4 | 5): Seen[] {
  const seen: Seen[] = [];
  const parsers = new Map<string, { parse(bytes: Uint8Array): void }>();
  for (const { connection, direction, bytes } of proxy.log) {
    const key = `${connection} ${direction}`;
    let known = parsers.get(key);
    if (!known) {
      const reader = parser({ protocolVersion: version });
      reader.on("packet", (packet) => seen.push({ connection, direction, packet }));
      parsers.set(key, known = { parse: (it) => void reader.parse(it as Buffer) });
    }
    known.parse(bytes);
  }
  return seen;
}

export function all<C extends Packet["cmd"]>(
  seen: readonly Seen[],
  cmd: C,
  connection?: number,
): Extract<Packet, { cmd: C }>[] {
  return seen
    .filter((it) => it.packet.cmd === cmd && (connection === undefined || it.connection === connection))
    .map(({ packet }) => packet as Extract<Packet, { cmd: C }>);
}

/** Messages that the gateway has taken responsibility for, by PUBACK or PUBREC. Throws at an answer to nothing. */
export function acknowledged(seen: readonly Seen[]): IPublishPacket[] {
  const open = new Map<string, IPublishPacket>();
  const taken: IPublishPacket[] = [];
  for (const { connection, direction, packet } of seen) {
    const key = `${connection} ${packet.messageId}`;
    if (direction === "down" && packet.cmd === "publish" && packet.qos > 0) open.set(key, packet);
    if (direction === "down" || packet.cmd !== "puback" && packet.cmd !== "pubrec") continue;
    const message = open.get(key);
    if (!message) {
      throw new Error(`connection ${connection}: ${packet.cmd} ${packet.messageId} answers nothing`);
    }
    open.delete(key);
    taken.push(message);
  }
  return taken;
}
