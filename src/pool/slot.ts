/**
 * One connection in the pool, with its ages. States: `idle` lies in the list; `leased` is in the hands of one lease or
 * one waiter; `checking` is pinged or reset by the pool itself; `closing` says goodbye. A slot has exactly one owner.
 */
import type { ConnectionState, Poolable, PoolEvent, PoolEventType } from "./types.ts";

export class Slot<C extends Poolable> {
  /** Read once: a driver's property may throw at any time, and what is said about a connection must not. */
  readonly id: number | string | undefined;
  readonly server: string | undefined;
  state: "idle" | "leased" | "checking" | "closing" = "leased";
  /** When it last came back from a lease. */
  usedAtMs: number;
  /** When the server last answered it. */
  answeredAtMs: number;
  leasedAtMs = 0;
  uses = 0;
  /** Closed on return. */
  soft = false;
  /** Pinged at its next use in any case. */
  suspect = false;
  /** Just made, or pinged by the pool itself, and on its way to whoever is first: not pinged for that. */
  fresh = true;
  /** Set while it is asked for something: ends the waiting for the answer. */
  cancel: (() => void) | undefined;
  /** What the server allows between two commands, with a margin for the way; Infinity where it does not say. */
  readonly serverIdleMs: number;

  constructor(
    readonly connection: C,
    /** Before connecting began. */
    readonly bornAtMs: number,
    readonly recycleAtMs: number,
    readonly generation: number,
    now: number,
  ) {
    this.id = connection.id;
    this.server = connection.server;
    this.usedAtMs = now;
    this.answeredAtMs = now;
    const seconds = connection.idleTimeout ?? 0;
    this.serverIdleMs = seconds > 0 ? seconds * 1_000 - Math.min(10_000, seconds * 200) : Infinity;
  }

  /** It has answered a ping. */
  answered(now: number): void {
    this.answeredAtMs = now;
    this.suspect = false;
    this.fresh = true;
  }

  event(type: PoolEventType, now: number, reason: string | undefined, error: unknown): PoolEvent {
    const { id, bornAtMs, usedAtMs } = this;
    return { type, id, reason, ageMs: now - bornAtMs, idleMs: now - usedAtMs, error };
  }

  picture(now: number): ConnectionState {
    const { id, server, state, bornAtMs, usedAtMs, uses, recycleAtMs } = this;
    return {
      id,
      server,
      state,
      ageMs: now - bornAtMs,
      idleMs: state === "idle" ? now - usedAtMs : 0,
      uses,
      recycleInMs: recycleAtMs === Infinity ? null : recycleAtMs - now,
    };
  }
}
