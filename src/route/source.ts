/**
 * What a column, an expression and a filter may look at: the message, its topic's levels, its decoded payload and,
 * under `each`, one element of it.
 */
import type { Delivery } from "../message.ts";

export interface Source {
  readonly delivery: Delivery;
  /** What the placeholders of the topic stand for, in the order of `Scope.levels`. */
  readonly levels: readonly string[];
  readonly payload: unknown;
  readonly gateway: string;
  /** The element under `each`, otherwise the payload. */
  readonly element: unknown;
  /** Index or key of the element under `each`. */
  readonly key: string | number | undefined;
}

/** What is known of sources before there is one. */
export interface Scope {
  /** Names of the topic's placeholders. */
  readonly levels: readonly string[];
  /** True under `each`. */
  readonly each: boolean;
}
