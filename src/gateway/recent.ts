/**
 * The last few messages and dead letters, for people who look at the status page. Bounded; nothing depends on it.
 */
import type { Batch, DeadLetter, Message } from "../message.ts";

const KEPT = 20;
const PAYLOAD_BYTES_MAX = 200;

export interface RecentMessage extends Message {
  readonly lane: string;
  /** True where `payload` is only the beginning. */
  readonly cut: boolean;
}

export interface RecentDeadLetter extends RecentMessage {
  readonly reason: string;
}

export class Recent {
  #messages: RecentMessage[] = [];
  #dead: RecentDeadLetter[] = [];

  /** Newest first. */
  get messages(): readonly RecentMessage[] {
    return this.#messages;
  }

  /** Newest first. */
  get deadLetters(): readonly RecentDeadLetter[] {
    return this.#dead;
  }

  add(batch: Batch, dead: readonly DeadLetter[]): void {
    const newest = batch.deliveries.slice(-KEPT).reverse().map((message) => excerpt(message, batch.lane));
    this.#messages = [...newest, ...this.#messages].slice(0, KEPT);
    if (dead.length === 0) return;
    const letters = dead.slice(-KEPT).reverse().map((it) => ({
      ...excerpt(it, batch.lane),
      reason: it.reason,
    }));
    this.#dead = [...letters, ...this.#dead].slice(0, KEPT);
  }
}

/** Copies what it keeps: the payload is a view of a batch's buffer, which must not be held. */
function excerpt({ topic, payload, qos, retain, receivedAtMs }: Message, lane: string): RecentMessage {
  const cut = payload.length > PAYLOAD_BYTES_MAX;
  return { topic, payload: payload.slice(0, PAYLOAD_BYTES_MAX), qos, retain, receivedAtMs, lane, cut };
}
