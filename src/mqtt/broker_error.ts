/**
 * Why a connection to the broker did not come about, or ended: one sentence for people, and how soon to try again.
 *
 * Turns reason codes (MQTT 5 section 2.4, MQTT 3.1.1 section 3.2.2.3) and the errors of sockets and TLS into
 * `BrokerError`. Knows no connection.
 */
import { messageOf, UnreachableError } from "../errors.ts";

/**
 * - `unreachable`: no CONNACK came
 * - `refused`: the broker said no to the log-in
 * - `lost`: an established connection broke
 * - `closed`: the broker closed an established connection without a word
 * - `takenOver`: another client logged in with the same client id
 * - `protocol`: what came is not MQTT
 */
export type BrokerErrorKind = "unreachable" | "refused" | "lost" | "closed" | "takenOver" | "protocol";

export class BrokerError extends UnreachableError {
  readonly kind: BrokerErrorKind;
  /** True where trying again soon would only annoy: the log-in is wrong, or two clients push each other out. */
  readonly slow: boolean;
  /** The broker's reason code, where it gave one. */
  readonly code: number | undefined;
  constructor(
    message: string,
    options: ErrorOptions & { hint?: string; kind: BrokerErrorKind; slow?: boolean; code?: number },
  ) {
    super(message, options);
    this.kind = options.kind;
    this.slow = options.slow ?? false;
    this.code = options.code;
  }
}

type Reason = readonly [text: string, hint?: string];

const CREDENTIALS = "check broker.username and broker.password, and that the broker knows this user";
const MOVED = "set broker.url to the server that it names";
const VERSION: Reason = ["it does not speak this version of MQTT", "set broker.version to 4 (or 5)"];

/** MQTT 3.1.1 section 3.2.2.3. */
const REFUSALS_V4: Readonly<Record<number, Reason>> = {
  1: VERSION,
  2: ["it does not accept the client id", "set another broker.clientId"],
  3: ["it is not available"],
  4: ["user name or password is wrong", CREDENTIALS],
  5: ["this client is not authorised", CREDENTIALS],
};

/** MQTT 5 section 2.4. */
const REASONS_V5: Readonly<Record<number, Reason>> = {
  1: VERSION,
  128: ["it gives no reason"],
  129: ["it found a malformed packet"],
  130: ["it found a protocol error"],
  131: ["it refuses for a reason of its own making"],
  132: VERSION,
  133: ["it does not accept the client id", "set another broker.clientId"],
  134: ["user name or password is wrong", CREDENTIALS],
  135: ["this client is not authorised", CREDENTIALS],
  136: ["it is not available"],
  137: ["it is busy"],
  138: ["this client is banned", "look at the broker's list of banned clients"],
  139: ["it is shutting down"],
  140: ["it wants another authentication method", "Sluice logs in with user name and password"],
  141: ["it heard nothing for longer than the keepalive", "set a shorter broker.keepalive"],
  142: ["another client uses the same client id", "give every gateway its own broker.clientId"],
  143: ["the topic filter is invalid"],
  144: ["the topic name is invalid"],
  145: ["the packet identifier is in use"],
  147: ["it says that its receive maximum was exceeded"],
  149: ["a packet is too large"],
  151: ["a quota is exceeded"],
  152: ["an administrator ended the connection"],
  155: ["it does not support the QoS"],
  156: ["another server is to be used for now", MOVED],
  157: ["it has moved for good", MOVED],
  158: ["it does not support shared subscriptions"],
  159: ["connections come too fast"],
  160: ["the maximum connect time is reached"],
  161: ["it does not support subscription identifiers"],
  162: ["it does not support wildcards in subscriptions"],
};

/** What a reason code means, in words that complete "the broker refuses: ...". */
export function reasonText(version: 4 | 5, code: number): string {
  const reasons = version === 5 ? REASONS_V5 : REFUSALS_V4;
  return reasons[code]?.[0] ?? `reason code ${code}`;
}

/** Codes after which a soon retry is of no use: version, client id, credentials, banned, authentication method, moved. */
const SLOW = new Set([1, 132, 133, 134, 135, 138, 140, 156, 157]);
const SLOW_V4 = new Set([1, 2, 4, 5]);

/** What the broker itself says beside the code (MQTT 5): a text, and where it has moved to. */
export interface OwnWords {
  readonly reasonString?: string;
  readonly serverReference?: string;
}

function inOwnWords({ reasonString, serverReference }: OwnWords): string {
  const words = [
    ...(reasonString ? [`"${reasonString}"`] : []),
    ...(serverReference ? [`it names ${serverReference}`] : []),
  ];
  return words.length === 0 ? "" : ` (${words.join("; ")})`;
}

/** A CONNACK that says no. */
export function refusal(version: 4 | 5, code: number, address: string, own: OwnWords = {}): BrokerError {
  const reasons = version === 5 ? REASONS_V5 : REFUSALS_V4;
  return new BrokerError(
    `the broker at ${address} refuses the log-in: ${reasonText(version, code)}${inOwnWords(own)}`,
    {
      kind: "refused",
      slow: (version === 5 ? SLOW : SLOW_V4).has(code),
      hint: reasons[code]?.[1],
      code,
    },
  );
}

/** A DISCONNECT packet from the broker (MQTT 5 section 3.14). */
export function disconnected(code: number, address: string, own: OwnWords = {}): BrokerError {
  const takenOver = code === 142;
  const text = code === 0 ? "normally" : reasonText(5, code);
  return new BrokerError(`the broker at ${address} ended the connection: ${text}${inOwnWords(own)}`, {
    kind: takenOver ? "takenOver" : "lost",
    slow: takenOver || SLOW.has(code),
    hint: REASONS_V5[code]?.[1],
    code,
  });
}

/** Patterns over code and message of an error, in this order; rustls and OpenSSL name the same thing differently. */
const NETWORK: readonly (readonly [pattern: RegExp, text: string, hint: string])[] = [
  [
    /fatal alert/i,
    "it refuses the TLS handshake",
    "a broker that asks for client certificates wants a valid broker.tls.cert and its broker.tls.key",
  ],
  [
    /UNSUPPORTED_PROTOCOL/i,
    "the TLS handshake fails",
    "check that broker.tls.key belongs to broker.tls.cert, and that the broker speaks TLS 1.2 or newer",
  ],
  [
    /ENOTFOUND|EAI_|failed to lookup|Name or service not known|No address associated/i,
    "its name is not known",
    "check the host in broker.url, or the name server",
  ],
  [/ECONNREFUSED/i, "nothing listens there", "is the broker running, and is the port in broker.url right?"],
  [
    /EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN/i,
    "no route leads there",
    "check the network and the host in broker.url",
  ],
  [
    /NotValidForName|ALTNAME|not valid for name|Hostname.*does not match/i,
    "its certificate is for another host name",
    "use a name that the certificate lists in broker.url",
  ],
  [/Expired|CERT_HAS_EXPIRED/i, "its certificate has expired", "renew it, or set this computer's clock"],
  [/NotValidYet|CERT_NOT_YET_VALID/i, "its certificate is not valid yet", "set this computer's clock"],
  [
    /UnknownIssuer|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CaUsedAsEndEntity|BadSignature/i,
    "its certificate was not issued by an authority that is trusted here",
    "set broker.tls.ca to the certificate of the authority",
  ],
  [
    /InvalidMessage|corrupt message|wrong version number|packet length too long|InvalidContentType/i,
    "it does not speak TLS there",
    "use mqtt:// or ws://, or the broker's port for TLS",
  ],
  [
    /PEM|private key|KeyMismatch|no start line|keys may not be consistent|NoCertificates/i,
    "a certificate or key cannot be used",
    "check broker.tls: PEM files, and a key that belongs to the certificate",
  ],
  [
    /before secure TLS connection/i,
    "it ends the TLS handshake",
    "use mqtt:// or ws:// where the broker has no TLS on this port, or give broker.tls.cert and broker.tls.key",
  ],
  [
    /Unexpected server response|Server sent (an invalid|no) subprotocol|Invalid Sec-WebSocket|Invalid Upgrade/i,
    "it does not speak MQTT over WebSocket there",
    "check port and path in broker.url; many brokers want the path /mqtt",
  ],
  [/ETIMEDOUT|timed out/i, "it does not answer", "check the network and the host in broker.url"],
  [
    /EMFILE|ENFILE|Too many open files/i,
    "this computer has no file descriptor left for it",
    "raise the limit of open files (systemd: LimitNOFILE)",
  ],
];

/** What to look at where the broker ends a connection before CONNACK; it may drop a TLS alert on the way. */
export function earlyEndHint(address: string): string {
  return /^(mqtts|wss):/.test(address)
    ? "a broker that asks for client certificates wants a valid broker.tls.cert and its broker.tls.key"
    : "check that protocol and port in broker.url belong together, and that the broker speaks broker.version";
}

/** Any error of the name server, the socket, TLS or the WebSocket. `established`: after CONNACK. */
export function networkError(error: unknown, address: string, established: boolean): BrokerError {
  if (error instanceof BrokerError) return error;
  const told = `${(error as { code?: string } | undefined)?.code ?? ""} ${messageOf(error)}`;
  const kind = established ? "lost" : "unreachable";
  const known = NETWORK.find(([pattern]) => pattern.test(told));
  if (established || !known && /ECONNRESET|EPIPE|ECONNABORTED/.test(told)) {
    const text = established ? "the connection to the broker broke" : "the broker closed the connection";
    const hint = established ? undefined : earlyEndHint(address);
    return new BrokerError(`${text} (${address}): ${messageOf(error)}`, { kind, hint, cause: error });
  }
  if (!known) {
    return new BrokerError(`the broker at ${address} cannot be reached: ${messageOf(error)}`, {
      kind,
      cause: error,
    });
  }
  return new BrokerError(`the broker at ${address} cannot be reached: ${known[1]}`, {
    kind,
    hint: known[2],
    cause: error,
  });
}

/** Bytes that are not MQTT, or MQTT that breaks its rules. Before CONNACK it is most likely no broker at all. */
export function protocolError(
  what: string,
  address: string,
  established: boolean,
  cause?: unknown,
): BrokerError {
  return established
    ? new BrokerError(`the broker at ${address} broke the rules of MQTT: ${what}`, {
      kind: "protocol",
      cause,
    })
    : new BrokerError(`what answers at ${address} is not an MQTT broker: ${what}`, {
      kind: "protocol",
      hint: "check host and port in broker.url; a log-in page of a network may stand in between",
      cause,
    });
}

/**
 * A PUBLISH that is too large to be held in memory. A broker that was not told the limit (MQTT 3.1.1) sends it again
 * on every connection, so it is not asked for it soon.
 */
export function tooLarge(bytes: number, bytesMax: number, address: string): BrokerError {
  return new BrokerError(
    `the broker at ${address} announces a packet of ${bytes} bytes; ${bytesMax} are the limit`,
    {
      kind: "protocol",
      slow: true,
      hint: "set the broker's limit lower (mosquitto: max_packet_size), or find out who publishes it",
    },
  );
}

/** The broker closes again and again soon after the log-in; brokers of MQTT 3.1.1 cannot say why. */
export function pushedOut(error: BrokerError, times: number): BrokerError {
  return new BrokerError(`${error.message}, for the ${times}th time in a row soon after the log-in`, {
    kind: "takenOver",
    slow: true,
    hint: "another client may use the same client id: give every gateway its own broker.clientId",
    cause: error,
  });
}
