/**
 * The pool's options, checked and in milliseconds. What is unknown or out of range is refused with its name: a pool
 * that guesses what was meant fails months later.
 */
import { systemClock } from "../clock.ts";
import type { Poolable, PoolErrorClass, PoolOptions } from "./types.ts";

type Defaults = Required<
  Omit<PoolOptions<Poolable>, "connect" | "connectTimeout" | "classify" | "clock" | "random">
>;
const DEFAULTS: Defaults = {
  size: 5,
  maxOverflow: 10,
  overflowLinger: 0,
  timeout: 30,
  recycle: 3_600,
  recycleJitter: 0.1,
  prePing: true,
  keepAlive: 0,
  idle: -1,
  order: "fifo",
  resetOnReturn: "rollback",
  resetTimeout: 5,
  maxConnecting: 4,
  leakWarning: 0,
};
const OTHERS = ["connect", "connectTimeout", "classify", "clock", "random"];
const PING_DEFAULTS = { idleOver: 0, timeout: 1 };

type Check = (value: unknown) => string | undefined;
const isNumber = (value: unknown): value is number => typeof value === "number" && !Number.isNaN(value);
const from = (least: number): Check => (value) =>
  isNumber(value) && value >= least ? undefined : `a number of seconds, ${least} or more`;
const seconds = from(0);
const secondsOrNever: Check = (value) =>
  value === -1 || isNumber(value) && value >= 0 ? undefined : "a number of seconds, or -1 for never";
const count = (least: number, hint = ""): Check => (value) =>
  Number.isInteger(value) && value as number >= least ? undefined : `a whole number, ${least} or more${hint}`;
const oneOf = (...names: string[]): Check => (value) =>
  names.includes(value as string) ? undefined : `one of ${names.join(", ")}`;
const aFunction: Check = (value) => typeof value === "function" ? undefined : "a function";

const CHECKS: Readonly<Record<string, Check>> = {
  connect: aFunction,
  size: count(0),
  maxOverflow: count(-1, "; -1 for no limit"),
  overflowLinger: seconds,
  timeout: seconds,
  recycle: secondsOrNever,
  recycleJitter: (value) => isNumber(value) && value >= 0 && value <= 1 ? undefined : "a number from 0 to 1",
  prePing: (value) =>
    typeof value === "boolean" || typeof value === "object" && value !== null
      ? undefined
      : "true, false or { idleOver, timeout }",
  keepAlive: seconds,
  idle: secondsOrNever,
  order: oneOf("fifo", "lifo"),
  resetOnReturn: oneOf("rollback", "full", "none"),
  resetTimeout: seconds,
  maxConnecting: count(1),
  connectTimeout: seconds,
  leakWarning: seconds,
  classify: aFunction,
  random: aFunction,
  clock: (value) =>
    typeof (value as { now?: unknown })?.now === "function" ? undefined : "a clock with now() and timer()",
  "prePing.idleOver": seconds,
  "prePing.timeout": seconds,
};

/** Options with every default filled in; times in milliseconds, `Infinity` for never. */
export type Settings<C extends Poolable> = ReturnType<typeof settingsOf<C>>;

/** Throws a RangeError or TypeError that names the option. */
export function settingsOf<C extends Poolable>(options: PoolOptions<C>) {
  check(options, [...Object.keys(DEFAULTS), ...OTHERS], "");
  if (options.connect === undefined) throw new TypeError("pool option connect is missing: a function");
  const defined = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const all = { ...DEFAULTS, ...defined } as Defaults & PoolOptions<C>;
  const ping = typeof all.prePing === "object" ? all.prePing : {};
  check(ping, Object.keys(PING_DEFAULTS), "prePing.");
  const { idleOver, timeout: pingTimeout } = { ...PING_DEFAULTS, ...ping };
  const ms = (sec: number) => sec < 0 ? Infinity : sec * 1_000;
  return {
    connect: all.connect,
    size: all.size,
    keep: all.size === 0 ? Infinity : all.size,
    limit: all.size === 0 || all.maxOverflow < 0 ? Infinity : all.size + all.maxOverflow,
    overflowLingerMs: ms(all.overflowLinger),
    timeoutMs: ms(all.timeout),
    recycleMs: ms(all.recycle),
    recycleJitter: all.recycleJitter,
    /** Below this since the last answer there is no ping; Infinity: never one. */
    pingIdleOverMs: all.prePing === false ? Infinity : ms(idleOver),
    pingTimeoutMs: ms(pingTimeout),
    keepAliveMs: all.keepAlive === 0 ? Infinity : ms(all.keepAlive),
    idleMs: ms(all.idle),
    lifo: all.order === "lifo",
    resetOnReturn: all.resetOnReturn,
    resetTimeoutMs: ms(all.resetTimeout),
    maxConnecting: all.maxConnecting,
    connectTimeoutMs: ms(all.connectTimeout ?? (all.timeout || DEFAULTS.timeout)),
    leakWarningMs: ms(all.leakWarning),
    classify: careful(all.classify),
    clock: all.clock ?? systemClock,
    random: all.random ?? Math.random,
  };
}

/** "other" where the driver's owner has nothing to say, or throws. */
function careful(classify: (error: unknown) => PoolErrorClass = () => "other") {
  return (error: unknown): PoolErrorClass => {
    try {
      return classify(error);
    } catch {
      return "other";
    }
  };
}

function check(options: object, known: readonly string[], prefix: string): void {
  for (const [name, value] of Object.entries(options)) {
    if (!known.includes(name)) {
      throw new TypeError(`unknown pool option ${prefix}${name}; there are ${known.join(", ")}`);
    }
    if (value === undefined) continue;
    const expected = CHECKS[prefix + name](value);
    if (expected !== undefined) {
      throw new RangeError(`pool option ${prefix}${name} must be ${expected}; it is ${String(value)}`);
    }
  }
}

/** The limit of one acquire, milliseconds. Throws a RangeError for what is no time. */
export function acquireTimeoutMs(seconds: number): number {
  return msOf("acquire: timeout", seconds);
}

/** How long the leases may take when the pool is closed, milliseconds. Throws a RangeError for what is no time. */
export function drainMsOf(seconds: number): number {
  return msOf("close: drain", seconds);
}

function msOf(what: string, seconds: number): number {
  const expected = CHECKS.timeout(seconds);
  if (expected === undefined) return seconds * 1_000;
  throw new RangeError(`${what} must be ${expected}; it is ${String(seconds)}`);
}
