/**
 * How to reach and log in to a broker, and how often to show signs of life: what the source and the probe share.
 *
 * Plain types and defaults, and the reading of the URL. No behaviour.
 */
import { ConfigurationError } from "../errors.ts";

/** A PEM text, or how to read it: asked for at each connect, so that a renewed certificate is picked up. */
export type Pem = string | (() => Promise<string>);

export interface TlsOptions {
  /** Certificates of the authorities to trust instead of the well-known ones. */
  readonly ca?: Pem;
  /** The client's own certificate, and its key. */
  readonly cert?: Pem;
  readonly key?: Pem;
  /** Check the broker's certificate and host name. @default true */
  readonly verify?: boolean;
}

export interface BrokerOptions {
  /** mqtt, mqtts, ws or wss. A user name and password in it count where the options below give none. */
  readonly url: string;
  readonly username?: string;
  /** Asked for at each connect. */
  readonly password?: () => Promise<string | undefined>;
  /** 5, or 4 which is MQTT 3.1.1. @default 5 */
  readonly version?: 4 | 5;
  /** A PINGREQ at least this often; half of it later a silent connection is given up. In milliseconds; 0: never. @default 30000 */
  readonly keepaliveMs?: number;
  /** For connecting, logging in and CONNACK together, in milliseconds. @default 10000 */
  readonly connectTimeoutMs?: number;
  /** For mqtts and wss. */
  readonly tls?: TlsOptions;
}

/** The largest PUBLISH that is taken; larger ones end the connection (MQTT 5: the broker is told, and leaves them out). */
export const PACKET_BYTES_MAX = 64 * 1024 * 1024;
export const KEEPALIVE_MS = 30_000;
export const CONNECT_TIMEOUT_MS = 10_000;

export interface BrokerAddress {
  readonly protocol: "mqtt" | "mqtts" | "ws" | "wss";
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  readonly port: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** For people: no user name, no password. */
  readonly display: string;
  /** For WebSocket: as `display`, with path and query. */
  readonly href: string;
}

const PORTS = { mqtt: 1883, mqtts: 8883, ws: 80, wss: 443 } as const;

/** Reads a broker URL. Throws `ConfigurationError` where it is none. */
export function brokerAddress(text: string): BrokerAddress {
  const url = URL.parse(text);
  const protocol = url?.protocol.slice(0, -1) as BrokerAddress["protocol"];
  if (!url || !(protocol in PORTS) || !url.hostname) {
    throw new ConfigurationError(
      "the broker's URL is not one of mqtt://, mqtts://, ws:// or wss:// with a host",
      {
        hint: "write it like mqtt://192.168.1.10:1883",
      },
    );
  }
  const port = url.port ? Number(url.port) : PORTS[protocol];
  const display = `${protocol}://${url.hostname}:${port}`;
  return {
    protocol,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port,
    username: url.username ? decoded(url.username) : undefined,
    password: url.password ? decoded(url.password) : undefined,
    display,
    href: `${display}${url.pathname || "/"}${url.search}`,
  };
}

/** A lone % is meant as it stands. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
