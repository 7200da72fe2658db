/**
 * Talking to the service manager (sd_notify(3)): ready, status, watchdog, stopping. Silent where nobody listens.
 *
 * The datagrams come from this process, so that `NotifyAccess=main` lets them through. Needs `--unstable-net`.
 */
import { type Clock, systemClock, type Timer } from "./clock.ts";

export interface Notifier extends Disposable {
  /** False where no service manager listens. */
  readonly active: boolean;
  /** `READY=1`, `STATUS=...`, `WATCHDOG=1`, `STOPPING=1`, `RELOADING=1`, one or more lines. */
  notify(state: string): void;
  /** How often `WATCHDOG=1` is wanted, in milliseconds; undefined where it is not. */
  readonly watchdogMs: number | undefined;
}

/** Reads $NOTIFY_SOCKET, $RUNTIME_DIRECTORY and $WATCHDOG_USEC. */
export function openNotifier(
  env: (name: string) => string | undefined = (name) => Deno.env.get(name),
): Notifier {
  const path = env("NOTIFY_SOCKET");
  const watchdogUs = Number(env("WATCHDOG_USEC") ?? 0);
  const watchdogMs = watchdogUs > 0 ? watchdogUs / 1_000 : undefined;
  // systemd's own socket is a path; an abstract one (@...) cannot be reached from here.
  if (!path || !path.startsWith("/")) {
    return { active: false, notify: () => {}, watchdogMs: undefined, [Symbol.dispose]: () => {} };
  }
  const own = `${env("RUNTIME_DIRECTORY") ?? env("TMPDIR") ?? "/tmp"}/sluice-notify-${Deno.pid}.sock`;
  removeQuietly(own);
  const socket = Deno.listenDatagram({ transport: "unixpacket", path: own });
  // One after the other: a datagram that is sent while another one is on its way is refused ("Busy").
  let last: Promise<unknown> = Promise.resolve();
  return {
    active: true,
    watchdogMs,
    notify(state) {
      const datagram = new TextEncoder().encode(state);
      last = last.then(() => socket.send(datagram, { transport: "unixpacket", path })).catch(() => {});
    },
    [Symbol.dispose]() {
      socket.close();
      removeQuietly(own);
    },
  };
}

function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was not there.
  }
}

/** The service manager waits so long for the next word; several words fit in. */
const START_EXTENDED_MS = 60_000;

/**
 * Asks for more time, again and again, while the start takes long: a large spool that must be salvaged takes minutes on
 * a card, and a start that is cut off would begin from scratch for ever. For half an hour at most.
 */
export function extendStart(notifier: Notifier, status: string, clock: Clock = systemClock): Disposable {
  const everyMs = START_EXTENDED_MS / 6;
  let left = 30 * 60_000 / everyMs;
  let timer: Timer | undefined;
  const tick = () => {
    notifier.notify(`EXTEND_TIMEOUT_USEC=${START_EXTENDED_MS * 1_000}\nSTATUS=${status}`);
    if (--left > 0) timer = clock.timer(everyMs, tick);
  };
  if (notifier.active) timer = clock.timer(everyMs, tick);
  return { [Symbol.dispose]: () => timer?.cancel() };
}

/** Feeds the watchdog twice in its period, but only while `alive` says that the loops turn. Never from a bare timer. */
export function feedWatchdog(
  notifier: Notifier,
  alive: () => boolean,
  status: () => string,
  clock: Clock = systemClock,
): Disposable {
  let timer: Timer | undefined;
  const everyMs = notifier.watchdogMs === undefined ? 10_000 : notifier.watchdogMs / 2;
  const tick = () => {
    if (alive()) notifier.notify(`WATCHDOG=1\nSTATUS=${status()}`);
    timer = clock.timer(everyMs, tick);
  };
  if (notifier.active) tick();
  return { [Symbol.dispose]: () => timer?.cancel() };
}
