/**
 * The status page and its neighbours over HTTP: read-only, on loopback unless told otherwise, and then with a token.
 *
 * Promises that no visitor can end the process: where connections cannot be taken any more (too many open files), it
 * says so and begins to listen anew.
 */
import { timingSafeEqual } from "node:crypto";
import { sleep } from "../clock.ts";
import { messageOf, SluiceError } from "../errors.ts";
import { metricsText } from "./metrics.ts";
import css from "./page/page.css" with { type: "text" };
import page from "./page/page.html" with { type: "text" };
import script from "./page/page.js" with { type: "text" };
import type { StatusSnapshot } from "./snapshot.ts";

export interface StatusOptions {
  readonly listen: { readonly hostname: string; readonly port: number } | { readonly path: string };
  /** Asked of every request where it is given. */
  readonly token?: string;
  readonly snapshot: () => StatusSnapshot;
  /** Why it does not listen now; null when it does again. */
  readonly onFault?: (reason: string | null) => void;
}

export interface StatusServer extends AsyncDisposable {
  /** http://host:port, or unix:/path */
  readonly address: string;
}

const LISTEN_AGAIN_MS = 1_000;
const HEADERS = { "cache-control": "no-store", "x-content-type-options": "nosniff" };
const json = (value: unknown, status = 200) =>
  new Response(JSON.stringify(value, null, 1) + "\n", {
    status,
    headers: { ...HEADERS, "content-type": "application/json; charset=utf-8" },
  });
const text = (body: string, status = 200) =>
  new Response(body, { status, headers: { ...HEADERS, "content-type": "text/plain; charset=utf-8" } });

const asset = (body: string, type: string) =>
  new Response(body, {
    headers: {
      ...HEADERS,
      "content-type": `${type}; charset=utf-8`,
      "content-security-policy": "default-src 'self'",
    },
  });

/** What keeps the gateway from being ready; empty where nothing does. */
export function notReady({ broker, database, spool }: StatusSnapshot): string[] {
  return [
    ...(broker.connected ? [] : ["the broker is not connected"]),
    ...broker.refused.map((filter) => `the broker refuses the subscription ${filter}`),
    ...(database.reachable ? [] : ["the database is not reachable"]),
    ...(spool.full ? ["the spool is full"] : []),
  ];
}

export async function startStatus(
  { listen, token, snapshot, onFault }: StatusOptions,
): Promise<StatusServer> {
  const allowed = (request: Request, url: URL) => {
    if (token === undefined) return true;
    const given = request.headers.get("authorization")?.replace(/^Bearer /, "") ??
      url.searchParams.get("token") ?? "";
    const [a, b] = [new TextEncoder().encode(given), new TextEncoder().encode(token)];
    return a.length === b.length && timingSafeEqual(a, b);
  };
  const handler = (request: Request): Response => {
    const url = new URL(request.url);
    if (request.method !== "GET" && request.method !== "HEAD") return text("read-only\n", 405);
    // No secret is in these two, and a browser asks for them without the token.
    if (url.pathname === "/page.css") return asset(css, "text/css");
    if (url.pathname === "/page.js") return asset(script, "text/javascript");
    if (!allowed(request, url)) {
      return text("a token is needed: ?token=... or Authorization: Bearer ...\n", 401);
    }
    switch (url.pathname) {
      case "/":
        return asset(page, "text/html");
      case "/status.json":
        return json(snapshot());
      case "/healthz":
        return text("ok\n");
      case "/readyz": {
        const reasons = notReady(snapshot());
        return json({ ready: reasons.length === 0, reasons }, reasons.length === 0 ? 200 : 503);
      }
      case "/metrics":
        return text(metricsText(snapshot()));
      default:
        return text("there is no such page\n", 404);
    }
  };
  const server = new LastingServer(listen, handler, onFault ?? (() => {}));
  await server.listen();
  return server;
}

/** `Deno.serve` gives up for good at the first connection that it cannot accept; this one begins again. */
class LastingServer implements StatusServer {
  readonly #handler: (request: Request) => Response;
  readonly #onFault: (reason: string | null) => void;
  readonly #stop = new AbortController();
  #listen: StatusOptions["listen"];
  #server: Deno.HttpServer | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(
    listen: StatusOptions["listen"],
    handler: (request: Request) => Response,
    onFault: (reason: string | null) => void,
  ) {
    this.#listen = listen;
    this.#handler = handler;
    this.#onFault = onFault;
  }

  get address(): string {
    const listen = this.#listen;
    return "path" in listen ? `unix:${listen.path}` : `http://${listen.hostname}:${listen.port}`;
  }

  /** Throws where the address cannot be had at first. */
  async listen(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      throw new SluiceError(`the status page cannot be at ${this.address}: ${messageOf(error)}`, {
        cause: error,
        hint: error instanceof Deno.errors.AddrInUse
          ? 'another program is there, perhaps another gateway: give this one an address of its own, "status": { "listen": "127.0.0.1:8089" }'
          : 'choose an address of this machine, "status": { "listen": "127.0.0.1:8088" }',
      });
    }
    this.#running = this.#last();
  }

  async #open(): Promise<Deno.HttpServer> {
    const listen = this.#listen;
    if ("path" in listen) await Deno.remove(listen.path).catch(() => {});
    const server = Deno.serve({ ...listen, onListen: () => {} } as Deno.ServeTcpOptions, this.#handler);
    if (!("path" in listen)) {
      const { hostname, port } = server.addr as Deno.NetAddr;
      this.#listen = { hostname, port };
    }
    return this.#server = server;
  }

  async #last(): Promise<void> {
    const { signal } = this.#stop;
    let server = this.#server;
    while (!signal.aborted) {
      try {
        server ??= await this.#open();
        if (signal.aborted) await server.shutdown();
        this.#onFault(null);
        return await server.finished;
      } catch (error) {
        server = undefined;
        this.#onFault(messageOf(error));
        await sleep(LISTEN_AGAIN_MS, signal).catch(() => {});
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#server?.shutdown().catch(() => {});
    await this.#running;
  }
}
