/**
 * A duplex stream of bytes to the broker: TCP, TLS, or either with a WebSocket around it.
 *
 * Promises that nothing is left open where it rejects, and that TCP sends small packets at once and probes an idle
 * line. It knows nothing of MQTT but the name of the WebSocket subprotocol (MQTT 5 section 6).
 */
import type { EventEmitter } from "node:events";
import { connect as connectTcp, isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { createWebSocketStream, WebSocket } from "ws";
import { BrokerError } from "./broker_error.ts";
import { type BrokerAddress, PACKET_BYTES_MAX, type Pem, type TlsOptions } from "./broker_options.ts";

/** Idle time after which the kernel begins to probe the line. */
const TCP_PROBE_MS = 60_000;

/**
 * Connects. Rejects with the error of the socket, TLS or WebSocket, or with the signal's reason. The stream may have
 * failed again by the time it is looked at: then it says so in `errored`, not by an event.
 */
export async function openTransport(
  address: BrokerAddress,
  tls: TlsOptions | undefined,
  signal: AbortSignal,
): Promise<Duplex> {
  signal.throwIfAborted();
  const secure = address.protocol === "mqtts" || address.protocol === "wss";
  const material = secure ? await tlsMaterial(tls ?? {}) : {};
  signal.throwIfAborted();
  if (address.protocol === "ws" || address.protocol === "wss") {
    return openWebSocket(address, material, signal);
  }
  const { host, port } = address;
  const socket = secure
    ? connectTls({ host, port, ...(isIP(host) ? {} : { servername: host }), ...material })
    : connectTcp({ host, port });
  await opened(socket, secure ? "secureConnect" : "connect", signal, () => socket.destroy());
  socket.setNoDelay(true);
  socket.setKeepAlive(true, TCP_PROBE_MS);
  return socket;
}

interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: boolean;
}

async function tlsMaterial({ ca, cert, key, verify }: TlsOptions): Promise<TlsMaterial> {
  return {
    ...(ca === undefined ? {} : { ca: await read(ca, "ca", "CERTIFICATE") }),
    ...(cert === undefined ? {} : { cert: await read(cert, "cert", "CERTIFICATE") }),
    ...(key === undefined ? {} : { key: await read(key, "key", "PRIVATE KEY") }),
    rejectUnauthorized: verify ?? true,
  };
}

/** Deno's TLS passes over what is no PEM without a word; the broker would then miss the certificate. */
async function read(pem: Pem, name: string, label: string): Promise<string> {
  const text = typeof pem === "string" ? pem : await pem();
  if (!new RegExp(`-----BEGIN [A-Z ]*${label}-----`).test(text)) {
    throw new BrokerError(`broker.tls.${name} holds no ${label.toLowerCase()} in PEM form`, {
      kind: "unreachable",
      slow: true,
      hint: `give the file that contains "-----BEGIN ${label}-----"`,
    });
  }
  return text;
}

async function openWebSocket(
  address: BrokerAddress,
  material: TlsMaterial,
  signal: AbortSignal,
): Promise<Duplex> {
  const socket = new WebSocket(address.href, ["mqtt"], {
    ...material,
    perMessageDeflate: false,
    maxPayload: PACKET_BYTES_MAX + 1024,
  });
  // Made before the socket opens: what the broker sends first must find its reader.
  const stream: Duplex = createWebSocketStream(socket);
  // It fails together with the socket, which `opened` hears first.
  stream.on("error", () => {});
  await opened(socket, "open", signal, () => socket.terminate());
  return stream;
}

/** Waits for `event`. Whatever else happens first makes it reject, after `destroy`. */
function opened(
  emitter: EventEmitter,
  event: string,
  signal: AbortSignal,
  destroy: () => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // A socket that dies may tell so more than once, and between its opening and its next owner's first look.
  emitter.on("error", () => {});
  const fail = (error: unknown) => {
    finish();
    destroy();
    reject(error);
  };
  const onOpen = () => {
    finish();
    resolve();
  };
  const onClose = () => fail(new Error("the connection was closed before it was open (ECONNRESET)"));
  const onAbort = () => fail(signal.reason);
  const finish = () => {
    emitter.off(event, onOpen);
    emitter.off("error", fail);
    emitter.off("close", onClose);
    signal.removeEventListener("abort", onAbort);
  };
  emitter.once(event, onOpen);
  emitter.once("error", fail);
  emitter.once("close", onClose);
  signal.addEventListener("abort", onAbort, { once: true });
  return promise;
}
